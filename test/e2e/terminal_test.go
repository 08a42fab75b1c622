package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// openTerminal returns the two ends of a new pseudoterminal, and the number of the
// first. The caller closes both.
func openTerminal(t *testing.T) (master *os.File, fd int, tty *os.File) {
	t.Helper()
	// Not os.OpenFile: File.Fd would make reads block, and Close would wait for them.
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

// shows waits until the terminal has shown a text a number of times, and a moment longer
// to check that it does not appear once more.
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

// hangUp closes the terminal and waits for the shell's end.
func (term *terminal) hangUp() {
	term.master.Close()
	timer := time.AfterFunc(patience, func() { _ = term.shell.Process.Kill() })
	defer timer.Stop()
	_ = term.shell.Wait() // its status does not matter
}

// stopped reports whether a process is stopped, or waits in vfork(2) for a stopped child:
// shells use vfork, and then only the child can stop.
func stopped(pid int) bool {
	switch stateOf(pid) {
	case "T":
		return true
	case "D":
		return slices.ContainsFunc(childrenOf(pid), stopped)
	}
	return false
}

// TestTerminal sends keys of a terminal to a tree: each signal must reach the root once,
// from the terminal itself; regrow must not forward it as well.
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

	// From another process: regrow is in the foreground, but the terminal has not sent it.
	if err := unix.Kill(jobs[0], unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	term.shows("got USR1\r", 1)
	stop := insist(t, jobs[0])
	defer stop()
	term.shows("ending the tree by SIGKILL\r", 1)
	term.shows("ended=143.", 1)
	stop()
	if left := below(jobs[0]); len(left) > 0 {
		t.Errorf("left of the tree: %v", left)
	}
	term.keys("exit\n")
	term.hangUp()
	noDescendants(t)
}

// TestTerminalHolds sends Ctrl-C if the root holds, and if it is pid 1 of a namespace: the
// tree must end, and the shell must continue.
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
			noDescendants(t)
		})
	}
}

// TestTerminalIsTold restores trees on a terminal. If the root holds, one line must say so
// and how to end the tree, and that must work. If the root runs a program, or standard
// error is not a terminal, there must be no such line.
func TestTerminalIsTold(t *testing.T) {
	holds := write(t, "version: 1\ntasks: [{name: a, children: [{name: b}, {name: c}]}]\n")
	runs := write(t, "version: 1\nfiles: {out: {type: inherit, key: stdout}}\ntasks: [{name: a, fds: {0: out, 1: out, 2: out}, run: [sh, -c, 'echo begun; read x'], children: [{name: b}]}]\n")
	line := regexp.MustCompile(`regrow: 3 tasks are restored; the root, pid ([0-9]+), holds until a signal ends it: (press Ctrl-C, or from elsewhere )?kill ([0-9]+)\r\n`)
	// told returns the contents of the line.
	told := func(term *terminal) (root, regrow int, foreground bool) {
		t.Helper()
		within(t, "the line", func() bool { return line.MatchString(term.output()) })
		m := line.FindStringSubmatch(term.output())
		root, _ = strconv.Atoi(m[1])
		regrow, _ = strconv.Atoi(m[3])
		return root, regrow, m[2] != ""
	}
	t.Run("in the foreground", func(t *testing.T) {
		term := newTerminal(t)
		term.keys(regrow + " restore " + holds + "; echo ended=$?.\n")
		root, job, foreground := told(term)
		if jobs := childrenOf(term.shell.Process.Pid); !foreground || !slices.Equal(jobs, []int{job}) || !slices.Equal(childrenOf(job), []int{root}) {
			t.Errorf("the line has root %d, regrow %d; the shell has %v: %q", root, job, jobs, term.output())
		}
		term.keys("\x03")
		term.shows("ended=130.", 1)
		term.shows("regrow: ", 1)
		term.keys("exit\n")
		term.hangUp()
		noDescendants(t)
	})
	t.Run("in the background", func(t *testing.T) {
		term := newTerminal(t)
		term.keys(regrow + " restore " + holds + " &\n")
		_, job, foreground := told(term)
		if foreground {
			t.Errorf("Ctrl-C would not reach it: %q", term.output())
		}
		term.keys("kill " + strconv.Itoa(job) + "; wait $!; echo ended=$?.\n")
		term.shows("ended=143.", 1)
		term.keys("exit\n")
		term.hangUp()
		noDescendants(t)
	})
	for name, args := range map[string]string{
		"a program":      runs,
		"no terminal":    "--json " + holds + " 2>" + filepath.Join(t.TempDir(), "errors"),
		"only of errors": "--json --log-level error " + holds,
	} {
		t.Run(name, func(t *testing.T) {
			term := newTerminal(t)
			term.keys(regrow + " restore " + args + "; echo ended=$?.\n")
			within(t, "the tree", func() bool {
				jobs := childrenOf(term.shell.Process.Pid)
				return len(jobs) == 1 && len(below(jobs[0])) >= 2
			})
			if name == "a program" {
				term.shows("begun", 1)
			} else {
				term.shows("elapsed_ns", 1)
			}
			term.keys("\x03")
			term.shows("ended=130.", 1)
			if strings.Contains(term.output(), "regrow: ") {
				t.Errorf("the terminal shows a line: %q", term.output())
			}
			term.keys("exit\n")
			term.hangUp()
			noDescendants(t)
		})
	}
}

// TestTerminalHangsUp closes the terminal: the tree must end with its session.
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
