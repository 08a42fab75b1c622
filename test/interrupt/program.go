package interrupt

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// callsEnv makes the test binary the one that sets the filter: numbers of calls.
const callsEnv = "REGROW_TEST_INTERRUPT"

// Init sets the filter and becomes the program, if this process was started by
// [Start] to do so. Call it first of all in TestMain.
func Init() {
	calls := os.Getenv(callsEnv)
	if calls == "" {
		return
	}
	fmt.Fprintln(os.Stderr, "interrupt:", become(calls, os.Args[1:]))
	os.Exit(1)
}

// become becomes args under the filter. It returns only if that fails.
func become(calls string, args []string) error {
	var numbers []uint32
	for field := range strings.FieldsSeq(calls) {
		nr, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return err
		}
		numbers = append(numbers, uint32(nr))
	}
	if err := os.Unsetenv(callsEnv); err != nil {
		return err
	}
	// The exec is announced too, and waits until Start has the listener.
	return listenAndExec(append(numbers, unix.SYS_EXECVE), args)
}

// Program is a program that runs, and all that it starts.
type Program struct {
	*exec.Cmd
	exe      string // its file
	calls    map[uint32]bool
	listener *os.File
	quit     chan struct{}
	done     chan struct{}

	threads map[int]*thread
	report  Report
}

// Report says what happened to a program.
type Report struct {
	Interrupted map[uint32]int // how often, by number of call
	Wrong       []string       // what the program should not have done
}

// String lists the calls that were interrupted.
func (r Report) String() string {
	var b bytes.Buffer
	for _, nr := range slices.Sorted(maps.Keys(r.Interrupted)) {
		fmt.Fprintf(&b, "call %d: %d, ", nr, r.Interrupted[nr])
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// thread is what is known of a thread of the program.
type thread struct {
	made    map[uint32]int // calls
	loading bool           // from an exec on, until it has threads
	unset   bool           // its last SO_PEEK_OFF was interrupted
}

// Start starts cmd, whose Path is a program of Go, with these calls interrupted. The
// caller must Wait for it, and [Program.Stop] when all that it has started has ended:
// afterwards these calls answer ENOSYS.
func Start(cmd *exec.Cmd, calls ...uint32) (*Program, error) {
	exe, err := os.Readlink(cmd.Path)
	if err != nil {
		exe = cmd.Path
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Program{
		Cmd: cmd, exe: exe, calls: map[uint32]bool{}, threads: map[int]*thread{},
		quit: make(chan struct{}), done: make(chan struct{}), report: Report{Interrupted: map[uint32]int{}},
	}
	var numbers []string
	for _, nr := range calls {
		p.calls[nr] = true
		numbers = append(numbers, strconv.Itoa(int(nr)))
	}
	cmd.Args = append([]string{self, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = self
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, callsEnv+"="+strings.Join(numbers, " "))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if p.listener, err = listenerOf(cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	go p.supervise()
	return p, nil
}

// Stop returns the calls back to nobody, and tells what happened.
func (p *Program) Stop() Report {
	close(p.quit)
	<-p.done
	_ = p.listener.Close()
	return p.report
}

// listenerOf takes the listener out of the process that has set the filter.
func listenerOf(pid int) (*os.File, error) {
	const patience = time.Minute
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) { //nolint:forbidigo // nothing tells that it has set the filter
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name()))
			n, err := strconv.Atoi(e.Name())
			if err != nil || !strings.Contains(link, "seccomp notify") {
				continue
			}
			fd, err := unix.PidfdGetfd(pidfd, n, 0)
			if err != nil {
				return nil, os.NewSyscallError("pidfd_getfd", err)
			}
			return os.NewFile(uintptr(fd), "listener"), nil
		}
		if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || bytes.Contains(state, []byte(") Z ")) {
			break
		}
	}
	return nil, errors.New("interrupt: the program was not started under a filter")
}

// supervise answers until it is stopped, or nobody is left who could ask.
func (p *Program) supervise() {
	defer close(p.done)
	fd := int(p.listener.Fd())
	for {
		select {
		case <-p.quit:
			return
		default:
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 20)
		if err != nil || n == 0 {
			continue
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			<-p.quit
			return
		}
		if c, ok := nextCall(fd); ok {
			p.answer(fd, c)
		}
	}
}

// answer decides what becomes of a call. What the kernel does not take the answer for
// was interrupted by a real signal, and comes again.
func (p *Program) answer(fd int, c call) {
	th := p.threads[c.tid]
	if th == nil {
		th = &thread{made: map[uint32]int{}}
		p.threads[c.tid] = th
	}
	isSet := c.nr == unix.SYS_SETSOCKOPT && c.args[1] == unix.SOL_SOCKET && c.args[2] == unix.SO_PEEK_OFF
	isPeek := c.nr == unix.SYS_RECVMSG && c.args[2]&unix.MSG_PEEK != 0
	if isPeek && th.unset {
		p.report.Wrong = append(p.report.Wrong, fmt.Sprintf("thread %d peeks after a set that failed", c.tid))
	}
	interrupts := p.interrupts(th, c) && th.made[c.nr]%2 == 0
	if !respond(fd, c, interrupts) {
		return
	}
	th.made[c.nr]++
	if isSet {
		th.unset = interrupts
	}
	if interrupts {
		p.report.Interrupted[c.nr]++
	} else if c.nr == unix.SYS_EXECVE {
		th.loading = true
	}
}

// interrupts reports whether a call is one that is to be interrupted.
func (p *Program) interrupts(th *thread, c call) bool {
	if !p.calls[c.nr] {
		return false
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", c.tid))
	if err != nil || exe != p.exe {
		return false
	}
	if th.loading {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", c.tid))
		if err != nil || len(tasks) < 2 {
			return false
		}
		th.loading = false
	}
	return true
}
