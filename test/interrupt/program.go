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

// callsEnv is the variable with numbers of calls that makes the test binary set the filter.
const callsEnv = "REGROW_TEST_INTERRUPT"

// Init sets the filter and executes the program, if [Start] has started this process for
// that. Call it at the start of TestMain.
func Init() {
	calls := os.Getenv(callsEnv)
	if calls == "" {
		return
	}
	fmt.Fprintln(os.Stderr, "interrupt:", become(calls, os.Args[1:]))
	os.Exit(1)
}

// become executes args under the filter. It returns only with an error.
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
	// The exec is reported too, and waits until Start has the listener.
	return listenAndExec(append(numbers, unix.SYS_EXECVE), args)
}

// Program is a running program with its descendants.
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

// Report describes what happened to a program.
type Report struct {
	Interrupted map[uint32]int // how often each call was interrupted, by its number
	Wrong       []string       // mistakes of the program
}

// String lists the calls that were interrupted.
func (r Report) String() string {
	var b bytes.Buffer
	for _, nr := range slices.Sorted(maps.Keys(r.Interrupted)) {
		fmt.Fprintf(&b, "call %d: %d, ", nr, r.Interrupted[nr])
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// thread is the state of a thread of the program.
type thread struct {
	made    map[uint32]int // calls
	loading bool           // from an exec on, until it has threads
	unset   bool           // its last SO_PEEK_OFF was interrupted
}

// Start starts cmd, whose Path is a Go program, with these calls interrupted. The caller
// must Wait for it, and call [Program.Stop] when all its descendants have ended: after that
// these calls return ENOSYS.
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

// Stop closes the listener, and returns the report.
func (p *Program) Stop() Report {
	close(p.quit)
	<-p.done
	_ = p.listener.Close()
	return p.report
}

// listenerOf copies the listener from the process that has set the filter.
func listenerOf(pid int) (*os.File, error) {
	const patience = time.Minute
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(pidfd)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) { //nolint:forbidigo // there is no event for a new filter
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

// supervise answers calls until it is stopped, or no process with the filter is left.
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

// answer decides whether a call is interrupted. If the kernel no longer accepts the answer,
// a real signal has interrupted the call, which is then reported again.
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

// interrupts reports whether a call must be interrupted.
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
