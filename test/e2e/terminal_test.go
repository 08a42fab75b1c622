package e2e

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is an interactive shell with job control on a pty.
type terminal struct {
	t      *testing.T
	master *os.File
	fd     int // of master
	shell  *exec.Cmd

	mu  sync.Mutex
	out strings.Builder
}

// openTerminal gives the two ends of a new pseudoterminal, and the number of the
// first. The caller closes both.
func openTerminal(t *testing.T) (master *os.File, fd int, tty *os.File) {
	t.Helper()
	// Not os.OpenFile: File.Fd would make reads block, and Close wait for them.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, fd, tty
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		need(t, "bash")
	}
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
	master, fd, tty := openTerminal(t)
	defer tty.Close()
	term := &terminal{t: t, master: master, fd: fd, shell: exec.Command("bash", "--norc", "--noprofile", "-i")}
	term.shell.Env = append(os.Environ(), "PS1=$ ", "HISTFILE=", "TERM=dumb")
	term.shell.Stdin, term.shell.Stdout, term.shell.Stderr = tty, tty, tty
	term.shell.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := term.shell.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			term.mu.Lock()
			term.out.Write(b[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { endTree(t) })
	return term
}

func (term *terminal) output() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.out.String()
}

func (term *terminal) keys(s string) {
	term.t.Helper()
	if _, err := term.master.WriteString(s); err != nil {
		term.t.Fatal(err)
	}
}

// shows waits until the terminal has shown something so many times, and a moment
// longer: it must not come once more.
func (term *terminal) shows(what string, times int) {
	term.t.Helper()
	deadline := time.Now().Add(patience)
	for strings.Count(term.output(), what) < times {
		if time.Now().After(deadline) {
			term.t.Fatalf("the terminal does not show %q %d times: %q", what, times, term.output())
		}
		time.Sleep(2 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	if n := strings.Count(term.output(), what); n != times {
		term.t.Errorf("the terminal shows %q %d times, want %d: %q", what, n, times, term.output())
	}
}

// hangUp takes the terminal away and waits for the shell's end.
func (term *terminal) hangUp() {
	term.master.Close()
	timer := time.AfterFunc(patience, func() { _ = term.shell.Process.Kill() })
	defer timer.Stop()
	_ = term.shell.Wait() // its status is of no matter
}

// stopped reports whether a process is stopped, or waits in vfork(2) for a child
// that is: shells make their children so, and then only the child can stop.
func stopped(pid int) bool {
	switch stateOf(pid) {
	case "T":
		return true
	case "D":
		return slices.ContainsFunc(childrenOf(pid), stopped)
	}
	return false
}

// TestTerminal uses the keys of a terminal on a tree: each signal reaches the
// root once, from the terminal itself, and regrow does not add another one.
func TestTerminal(t *testing.T) {
	term := newTerminal(t)
	term.keys(regrow + " restore " + write(t, trapping) + "; echo status=$?\n")
	term.shows("ready\r", 1)
	term.keys("\x03")
	term.shows("got INT\r", 1)
	term.keys("\x1c")
	term.shows("got QUIT\r", 1)
	if err := unix.IoctlSetWinsize(term.fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 99}); err != nil {
		t.Fatal(err)
	}
	term.shows("got WINCH\r", 1)

	jobs := childrenOf(term.shell.Process.Pid)
	if len(jobs) != 1 {
		t.Fatalf("the shell's children: %v", jobs)
	}
	all := append(childrenOf(jobs[0]), jobs...) // the root and regrow
	term.keys("\x1a")
	within(t, "Ctrl-Z", func() bool { return stopped(all[0]) && stopped(all[1]) })
	term.shows("Stopped", 1)
	term.keys("fg; echo ended=$?.\n")
	within(t, "fg", func() bool { return !stopped(all[0]) && !stopped(all[1]) })
	term.keys("\x03")
	term.shows("got INT\r", 2)

	// From elsewhere: regrow is in the foreground, but this is not the terminal.
	if err := unix.Kill(jobs[0], unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	term.shows("got USR1\r", 1)
	stop := insist(t, jobs[0])
	defer stop()
	term.shows("ended by SIGKILL\r", 1)
	term.shows("ended=143.", 1)
	stop()
	if left := below(jobs[0]); len(left) > 0 {
		t.Errorf("left of the tree: %v", left)
	}
	term.keys("exit\n")
	term.hangUp()
	nobody(t)
}

// TestTerminalHolds presses Ctrl-C where the root holds, and where it is pid 1 of
// a namespace: the tree ends, and the shell goes on.
func TestTerminalHolds(t *testing.T) {
	needRoot(t)
	for name, text := range map[string]string{
		"holds":               "version: 1\ntasks: [{name: a, children: [{name: b}]}]\n",
		"pid 1":               "version: 1\nnamespaces: [pid]\ntasks: [{name: a, run: [sleep, '1000'], children: [{name: b}]}]\n",
		"a program by itself": "version: 1\ntasks: [{name: a, run: [sleep, '1000'], children: [{name: b}]}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			term := newTerminal(t)
			term.keys(regrow + " restore --json " + write(t, text) + "; echo status=$?.\n")
			within(t, "the tree", func() bool {
				jobs := childrenOf(term.shell.Process.Pid)
				return len(jobs) == 1 && len(below(jobs[0])) == 2
			})
			term.shows("elapsed_ns", 1) // the report, at release
			term.keys("\x03")
			term.shows("status=130.", 1)
			term.keys("exit\n")
			term.hangUp()
			nobody(t)
		})
	}
}

// TestTerminalHangsUp takes the terminal away: the tree ends with its session.
func TestTerminalHangsUp(t *testing.T) {
	term := newTerminal(t)
	term.keys(regrow + " restore --json " + write(t, "version: 1\ntasks: [{name: a, run: [sleep, '1000'], children: [{name: b}]}]\n") + "\n")
	within(t, "the tree", func() bool {
		jobs := childrenOf(term.shell.Process.Pid)
		return len(jobs) == 1 && len(below(jobs[0])) == 2
	})
	term.shows("elapsed_ns", 1)
	term.hangUp()
	within(t, "the end of all", func() bool {
		reapOrphans()
		return len(children()) == 0
	})
}
