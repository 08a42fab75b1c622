package service

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// Options says how a service is to be started. The zero value works in a program
// that calls [Init].
type Options struct {
	// Command is the program to start and its arguments. The program must call
	// [Init]. Default: this program itself, /proc/self/exe.
	Command []string

	// Timeout bounds the wait for an answer. Default: 30 seconds.
	Timeout time.Duration
}

// Service is a running service, seen from its owner. Its methods may be called
// by several goroutines.
type Service struct {
	*Channel // the owner's

	cmd    *exec.Cmd
	number uint64

	mu   sync.Mutex
	door int // -1: closed
}

// guardEnv tells the process that it is to be a service. doorFD is where it has
// its end of the door.
const (
	guardEnv = "REGROW_FDSTORE_SERVICE"
	doorFD   = 3
)

// initialized is set by Init: a program that does not call it must not be started
// again, since that would run it a second time.
var initialized atomic.Bool

// Start starts a service. It has answered when Start returns. The caller must
// [Service.Close] it.
//
// Errors: [ErrNoInit], [ErrTimeout], [ErrClosed] if the command does not become a
// service, or what a system call says.
func Start(o Options) (*Service, error) {
	command := o.Command
	if len(command) == 0 {
		if !initialized.Load() {
			return nil, fmt.Errorf("service: %w", ErrNoInit)
		}
		command = []string{proc.Exe}
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("service: %w", os.NewSyscallError("socketpair", err))
	}
	theirs := os.NewFile(uintptr(pair[1]), "door")
	defer theirs.Close()
	s := &Service{cmd: exec.Command(command[0], command[1:]...), door: pair[0]}
	s.cmd.Env = append(os.Environ(), guardEnv+"=1")
	s.cmd.ExtraFiles = []*os.File{theirs}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		_ = unix.Close(s.door)
		return nil, fmt.Errorf("service: %w", err)
	}
	_ = theirs.Close() // before the first answer is waited for: a dead process must be told by the end of the door
	if err := s.hello(o.Timeout); err != nil {
		_ = s.Close() // the reason comes first
		return nil, fmt.Errorf("service: start %q: %w", command[0], err)
	}
	return s, nil
}

// hello gives the process its number, opens the owner's channel and asks for a
// file that is not there: the answer shows that somebody serves.
func (s *Service) hello(timeout time.Duration) error {
	var random [8]byte
	rand.Read(random[:]) // never fails since Go 1.24
	s.number = binary.NativeEndian.Uint64(random[:])
	// The door's queue is full when many open channels at once; they wait.
	if err := setTimeout(s.door, unix.SO_SNDTIMEO, timeout); err != nil {
		return err
	}
	if err := send(s.door, s.number, kindHello<<kindShift, -1, 0); err != nil {
		return err
	}
	var err error
	if s.Channel, err = Open(s.door, s.number, timeout); err != nil {
		return err
	}
	_, err = s.ask(kindHello<<kindShift, -1)
	return err
}

// Door gives the number of the descriptor through which other processes open
// channels. It is lent: it stays open until [Service.Close], is close-on-exec,
// and is meant to be inherited by a fork or sent.
// -1 means that the service was closed.
func (s *Service) Door() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.door
}

// Number is a random number that all messages of this service carry.
func (s *Service) Number() uint64 { return s.number }

// PID gives the pid of the process.
func (s *Service) PID() int { return s.cmd.Process.Pid }

// Close ends the service and returns when its process is gone. Files that others
// have popped stay open. Where somebody else closes it or has closed it, Close
// returns [ErrClosed] at once.
//
// Errors: [ErrClosed]; [ErrTimeout] for a process that does not even end when it is
// killed, since it waits in the kernel.
func (s *Service) Close() error {
	s.mu.Lock()
	door := s.door
	s.door = -1
	s.mu.Unlock()
	if door < 0 {
		return ErrClosed
	}
	if s.Channel != nil {
		_ = s.Channel.Close()
	}
	_ = unix.Close(door)
	return s.end()
}

// How long a process may take to end by itself, and when it is killed.
const (
	politeTime = 2 * time.Second
	killedTime = time.Minute
)

// end waits for the process, which nobody keeps alive any more; one that does not
// end by itself is killed.
func (s *Service) end() error {
	ended := make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // its status says nothing; somebody else may have taken it
		close(ended)
	}()
	timer := time.AfterFunc(politeTime, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	select {
	case <-ended:
		return nil
	case <-time.After(politeTime + killedTime):
		return fmt.Errorf("service: pid %d was killed and has not ended: %w", s.cmd.Process.Pid, ErrTimeout)
	}
}
