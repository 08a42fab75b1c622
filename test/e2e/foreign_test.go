package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/test/rounds"
)

// foreign are children that a caller leaves to regrow by exec: one that runs, and a
// zombie.
type foreign struct {
	shell     string // shell commands that make them
	file      string
	live, not int
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	f := &foreign{file: filepath.Join(t.TempDir(), "foreign")}
	f.shell = "sleep 1000 >/dev/null 2>&1 & echo $! >>" + f.file + "; sleep 0.3 >/dev/null 2>&1 & echo $! >>" + f.file
	return f
}

func (f *foreign) read(t *testing.T) {
	t.Helper()
	within(t, "the caller's children", func() bool {
		text, _ := os.ReadFile(f.file)
		n, _ := fmt.Sscan(string(text), &f.live, &f.not)
		return n == 2
	})
}

// untouched checks that the running child still runs, and, while regrow runs, that the
// zombie was not reaped.
func (f *foreign) untouched(t *testing.T, whileRegrow bool) {
	t.Helper()
	if stateOf(f.live) == "" || stateOf(f.live) == "Z" {
		t.Errorf("the caller's child %d has ended: %q", f.live, stateOf(f.live))
	}
	if whileRegrow && stateOf(f.not) != "Z" {
		t.Errorf("the caller's child %d, a zombie before, is %q: it was reaped", f.not, stateOf(f.not))
	}
}

// stateOf returns the state of a process, "" if there is none.
func stateOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))[0]
}

// orphaning is a tree whose root orphans processes: some that end soon, and one that does
// not. The root writes the pid of that one to a file, and ends with 7 when another file
// exists.
func orphaning(dir string) string {
	return `version: 1
files: {null: {type: reg, path: /dev/null, flags: [O_RDWR]}}
tasks:
  - name: root
    fds: {0: null, 1: null, 2: null}
    run: [/bin/sh, -c, '(sleep 0.01 & sleep 0.01 & true) ; (setsid sleep 1000 & echo $! >` + dir + `/orphan) ; while ! [ -e ` + dir + `/go ]; do sleep 0.01; done; exit 7']
    children: [{name: held}]
`
}

// TestForeignChildren leaves children to regrow that it did not start, and restores a
// tree that orphans processes. regrow must reap orphans of the tree when they end, and end
// them with the tree. It must do neither with the caller's children.
func TestForeignChildren(t *testing.T) {
	dir, f := t.TempDir(), newForeign(t)
	r := start(t, f.shell, "restore", write(t, orphaning(dir)))
	f.read(t)
	orphan := 0
	within(t, "the orphan", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "orphan"))
		orphan, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return orphan > 0 && stateOf(orphan) != ""
	})
	within(t, "nobody but the caller's own child waits to be waited for", func() bool {
		zombies := slices.DeleteFunc(below(r.cmd.Process.Pid), func(pid int) bool { return stateOf(pid) != "Z" })
		return slices.Equal(zombies, []int{f.not})
	})
	f.untouched(t, true)
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if res := wait(t, r); res.status != 7 || res.errors != "" {
		t.Errorf("status %d, want 7: %s", res.status, res.errors)
	}
	f.untouched(t, false)
	if state := stateOf(orphan); state != "" {
		t.Errorf("the tree's orphan %d is left, %q", orphan, state)
	}
	if left := slices.DeleteFunc(children(), func(pid int) bool { return pid == f.live || pid == f.not }); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	endTree(t)
}

// TestForeignChildrenDetached does the same with a detached tree, and checks that the
// tasks are not affected by the stand-in.
func TestForeignChildrenDetached(t *testing.T) {
	f, path := newForeign(t), write(t, heldTree)
	rep := report(t, wait(t, start(t, "ulimit -Sn 1000; trap '' USR1; "+f.shell, "restore", "-d", "--json", path)))
	f.read(t)
	f.untouched(t, false)
	for _, p := range prove(wantOf(t, path), rep) {
		t.Error(p)
	}
	endTree(t)

	out := filepath.Join(t.TempDir(), "env")
	text := "version: 1\nfiles: {out: {type: reg, path: " + out + ", flags: [O_CREAT, O_WRONLY]}}\ntasks: [{name: a, fds: {1: out}, run: [sh, -c, 'env; ulimit -Sn; cat /proc/$PPID/comm']}]\n"
	if res := wait(t, start(t, "ulimit -Sn 1000; "+f.shell, "restore", write(t, text))); res.status != 0 {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	got, err := os.ReadFile(out)
	if err != nil || strings.Contains(string(got), "STANDS_IN") || !strings.HasSuffix(string(got), "\n1000\nregrow\n") {
		t.Errorf("the task has %q, %v", got, err)
	}
	endTree(t)
}

// TestForeignChildrenStatus checks the status of failed restores and after signals.
func TestForeignChildrenStatus(t *testing.T) {
	f := newForeign(t)
	for text, want := range map[string]int{
		"version: 2\n": 2,
		"version: 1\nfiles: {f: {type: reg, path: /no/such/file}}\ntasks: [{name: a, fds: {0: f}}]\n": 125,
		"version: 1\ntasks: [{name: a, run: [sh, -c, 'kill -USR2 $$']}]\n":                            128 + int(unix.SIGUSR2),
	} {
		if res := wait(t, start(t, f.shell, "restore", write(t, text))); res.status != want {
			t.Errorf("status %d, want %d: %s", res.status, want, res.errors)
		}
		endTree(t)
	}
	r := start(t, f.shell, "restore", write(t, trapping))
	within(t, "the root's traps", func() bool { return strings.Contains(r.output(), "ready") })
	for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH, unix.SIGHUP} {
		r.signal(t, sig)
		want := "got " + strings.TrimPrefix(unix.SignalName(sig), "SIG")
		within(t, want, func() bool { return strings.Contains(r.output(), want) })
	}
	if res := r.insist(t); res.status != 143 {
		t.Errorf("status %d, want 143: %s", res.status, res.errors)
	}
	endTree(t)
}

// TestForeignChildrenSignalAtStart sends USR1 as soon as there is a stand-in, which may
// not have set handlers yet. The stand-in must survive and read its description.
func TestForeignChildrenSignalAtStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for range rounds.Of(t, "", 10, 30) {
		fifo, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fifo.WriteString("version: 2\n"); err != nil {
			t.Fatal(err)
		}
		r := start(t, "sleep 1000 >/dev/null 2>&1 & exec <"+path, "restore", "-")
		pid := r.cmd.Process.Pid
		standIn := false
		for deadline := time.Now().Add(patience); !standIn && time.Now().Before(deadline); { // without a pause
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			standIn = exe == regrow && len(childrenOf(pid)) > 1
		}
		if !standIn {
			t.Fatal("there is no stand-in")
		}
		r.signal(t, unix.SIGUSR1)
		time.Sleep(20 * time.Millisecond)
		fifo.Close()
		if res := wait(t, r); res.status != 2 {
			t.Fatalf("status %d, want 2: %s", res.status, res.errors)
		}
		endTree(t)
	}
}

// TestForeignChildrenKilled kills regrow. Before release no task may be left; after
// release the tree must live on. The caller's child must live in both cases.
func TestForeignChildrenKilled(t *testing.T) {
	f := newForeign(t)
	r := start(t, f.shell, "restore", "--json", write(t, heldTree))
	within(t, "the report", func() bool { return strings.HasSuffix(r.output(), "}\n") })
	f.read(t)
	r.signal(t, unix.SIGKILL)
	if res := wait(t, r); res.status != 137 {
		t.Errorf("status %d, want 137: %s", res.status, res.errors)
	}
	within(t, "the end of the stand-in", func() bool {
		reapOrphans()
		return len(below(os.Getpid())) == 4 // the tree of three, and the caller's child
	})
	f.untouched(t, false)
	endTree(t)

	// While it waits for its description.
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	f = newForeign(t)
	r = start(t, f.shell, "restore", fifo)
	f.read(t)
	within(t, "the stand-in", func() bool { return len(childrenOf(r.cmd.Process.Pid)) == 3 })
	r.signal(t, unix.SIGKILL)
	_ = wait(t, r)
	within(t, "the end of the stand-in", func() bool {
		reapOrphans()
		return slices.Equal(children(), []int{f.live})
	})
	endTree(t)
}

// TestForeignChildrenTerminal sends keys of a terminal: each signal must reach the root
// once.
func TestForeignChildrenTerminal(t *testing.T) {
	term := newTerminal(t)
	term.keys("sh -c 'sleep 1000 & exec " + regrow + " restore " + write(t, trapping) + "'; echo status=$?.\n")
	term.shows("ready\r", 1)
	term.keys("\x03")
	term.shows("got INT\r", 1)
	jobs := childrenOf(term.shell.Process.Pid)
	if len(jobs) != 1 {
		t.Fatalf("the shell's children: %v", jobs)
	}
	term.keys("\x1a")
	within(t, "Ctrl-Z", func() bool {
		all := append(below(jobs[0]), jobs...)
		return !slices.ContainsFunc(all, func(pid int) bool { return !stopped(pid) })
	})
	term.shows("Stopped", 1)
	term.keys("fg; echo ended=$?.\n")
	within(t, "fg", func() bool { return !stopped(jobs[0]) })
	term.keys("\x03")
	term.shows("got INT\r", 2)
	stop := insist(t, jobs[0])
	defer stop()
	term.shows("ended=143.", 1)
	stop()
	within(t, "the end by the second TERM", func() bool {
		return !slices.ContainsFunc(below(term.shell.Process.Pid), func(pid int) bool { return stateOf(pid) != "Z" })
	})
	term.keys("exit\n")
	term.hangUp()
}

// TestForeignChildrenKeyAtStart sends Ctrl-C while regrow starts itself again, at various
// moments: the signal must never be lost.
func TestForeignChildrenKeyAtStart(t *testing.T) {
	term := newTerminal(t)
	job := "sh -c 'sleep 0.2 & exec " + regrow + " restore " + write(t, heldTree) + "'\n"
	n := rounds.Of(t, "", 20, 60)
	for i := range n {
		term.keys(job)
		within(t, "regrow", func() bool {
			jobs := childrenOf(term.shell.Process.Pid)
			if len(jobs) != 1 {
				return false
			}
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", jobs[0]))
			return exe == regrow
		})
		time.Sleep(time.Duration(i*60/n) * 150 * time.Microsecond)
		term.keys("\x03")
		within(t, "the end by Ctrl-C", func() bool { return len(childrenOf(term.shell.Process.Pid)) == 0 })
	}
	term.keys("exit\n")
	term.hangUp()
}
