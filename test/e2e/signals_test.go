package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/test/rounds"
)

// startedTree is a foreground restore that has released its tree.
func startedTree(t *testing.T, yaml string) (r *running, root int) {
	t.Helper()
	pidfile := filepath.Join(t.TempDir(), "pid")
	r = start(t, "", "restore", "--pidfile", pidfile, write(t, yaml))
	r.pidfile = pidfile
	within(t, "the pid file", func() bool {
		text, err := os.ReadFile(pidfile)
		_, scanErr := fmt.Sscan(string(text), &root)
		return err == nil && scanErr == nil
	})
	return r, root
}

// within waits until a condition is true.
func within(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (r *running) output() string {
	text, _ := os.ReadFile(r.out)
	return string(text)
}

// termAtReport waits for the end of a restore with --json. It sends TERM when the report
// arrives.
func termAtReport(t *testing.T, r *running) result {
	t.Helper()
	ended := make(chan result, 1)
	go func() { ended <- wait(t, r) }()
	for sent := false; ; time.Sleep(time.Millisecond) {
		select {
		case res := <-ended:
			return res
		default:
		}
		if !sent && strings.HasSuffix(r.output(), "}\n") {
			sent = true
			_ = r.cmd.Process.Signal(unix.SIGTERM)
		}
	}
}

// logged reports whether standard error contains a text.
func (r *running) logged(what string) bool {
	text, _ := os.ReadFile(r.err)
	return strings.Contains(string(text), what)
}

func (r *running) signal(t *testing.T, sig unix.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// insist ends a tree whose root handles TERM: a TERM 1 to 10 s after another one ends it.
// It repeats TERM, so the speed of the machine does not matter.
func (r *running) insist(t *testing.T) result {
	t.Helper()
	defer insist(t, r.cmd.Process.Pid)()
	return wait(t, r)
}

// insist sends TERM to a process every two seconds, until it has ended or stop is called.
func insist(t *testing.T, pid int) (stop func()) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0) // the pid may be reused
	if err != nil {
		t.Fatal(err)
	}
	over, quit := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		defer unix.Close(pidfd)
		for unix.PidfdSendSignal(pidfd, unix.SIGTERM, nil, 0) == nil {
			select {
			case <-quit:
				return
			case <-time.After(2 * time.Second):
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(quit)
		<-over
	})
}

// noDescendants checks that this process has no descendants.
func noDescendants(t *testing.T) {
	t.Helper()
	if left := children(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
		endTree(t)
	}
}

const trapping = `version: 1
files: {out: {type: inherit, key: stdout}, null: {type: reg, path: /dev/null}}
tasks:
  - name: root
    fds: {0: null, 1: out, 2: out}
    run: [sh, -c, 'for s in TERM HUP USR1 USR2 INT QUIT WINCH; do trap "echo got $s" $s; done; echo ready; while :; do sleep 0.02; done']
    children: [{name: held}]
`

// TestSignalsPass sends each signal that regrow forwards to a root that handles it. There
// is no terminal, so the signals can reach the root only through regrow.
func TestSignalsPass(t *testing.T) {
	r, _ := startedTree(t, trapping)
	within(t, "the root's traps", func() bool { return strings.Contains(r.output(), "ready") })
	for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH, unix.SIGHUP} {
		r.signal(t, sig)
		want := "got " + strings.TrimPrefix(unix.SignalName(sig), "SIG")
		within(t, want, func() bool { return strings.Contains(r.output(), want) })
	}
	r.signal(t, unix.SIGTERM)
	within(t, "got TERM", func() bool { return strings.Contains(r.output(), "got TERM") })
	res := r.insist(t)
	if res.status != 128+int(unix.SIGTERM) {
		t.Errorf("status %d, want 143: %s", res.status, res.errors)
	}
	if said := regexp.MustCompile(`^regrow: got a second SIGTERM, [0-9.]+m?s after the first: ending the tree by SIGKILL\n$`); !said.MatchString(res.errors) {
		t.Errorf("regrow prints %q", res.errors)
	}
	noDescendants(t)
}

// TestReload sends HUP again and again to a root that handles it: none may end the tree.
func TestReload(t *testing.T) {
	r, _ := startedTree(t, trapping)
	within(t, "the root's traps", func() bool { return strings.Contains(r.output(), "ready") })
	for i := range 4 {
		r.signal(t, unix.SIGHUP)
		within(t, "got HUP", func() bool { return strings.Count(r.output(), "got HUP") == i+1 })
		time.Sleep(1100 * time.Millisecond)
	}
	// A HUP does not count as a first TERM either.
	r.signal(t, unix.SIGTERM)
	within(t, "got TERM", func() bool { return strings.Contains(r.output(), "got TERM") })
	if res := r.insist(t); res.status != 143 {
		t.Errorf("status %d, want 143: %s", res.status, res.errors)
	}
	noDescendants(t)
}

// TestSignalsEndHeld sends the signals that end a tree whose root holds.
func TestSignalsEndHeld(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			r, _ := startedTree(t, "version: 1\ntasks: [{name: a, children: [{name: b, children: [{name: c}]}]}]\n")
			r.signal(t, sig)
			if res := wait(t, r); res.status != 128+int(sig) {
				t.Errorf("status %d, want %d: %s", res.status, 128+int(sig), res.errors)
			}
			if _, err := os.Stat(r.pidfile); err == nil {
				t.Error("the pid file is still there")
			}
			noDescendants(t)
		})
	}
}

// TestRootKilled kills the root: regrow must exit with its status, and end the other
// tasks.
func TestRootKilled(t *testing.T) {
	r, root := startedTree(t, "version: 1\ntasks: [{name: a, children: [{name: b}, {name: c}]}]\n")
	if err := unix.Kill(root, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if res := wait(t, r); res.status != 128+int(unix.SIGKILL) {
		t.Errorf("status %d, want 137: %s", res.status, res.errors)
	}
	noDescendants(t)
}

// TestRegrowKilled kills regrow after release: the tree lives on.
func TestRegrowKilled(t *testing.T) {
	r, root := startedTree(t, "version: 1\ntasks: [{name: a, children: [{name: b}]}]\n")
	r.signal(t, unix.SIGKILL)
	_ = wait(t, r)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", root, root))
	if err != nil || len(strings.Fields(string(text))) != 1 {
		t.Errorf("the root's children: %q, %v", text, err)
	}
	endTree(t)
}

// TestNamespaceRoot sends TERM to a tree whose root is pid 1 of a namespace: the kernel
// would drop the signal, because the root has no handler.
func TestNamespaceRoot(t *testing.T) {
	needRoot(t)
	r, _ := startedTree(t, "version: 1\nnamespaces: [pid]\ntasks: [{name: a, run: [sleep, 1000], children: [{name: b}]}]\n")
	r.signal(t, unix.SIGTERM)
	if res := wait(t, r); res.status != 128+int(unix.SIGTERM) {
		t.Errorf("status %d, want 143: %s", res.status, res.errors)
	}
	noDescendants(t)
}

// TestIgnoredHangUp runs regrow like nohup: a HUP must end neither regrow nor the tree.
func TestIgnoredHangUp(t *testing.T) {
	path := write(t, trapping)
	r := start(t, "trap '' HUP", "restore", path)
	within(t, "the root's traps", func() bool { return strings.Contains(r.output(), "ready") })
	r.signal(t, unix.SIGHUP)
	r.signal(t, unix.SIGUSR1)
	within(t, "got USR1", func() bool { return strings.Contains(r.output(), "got USR1") })
	if strings.Contains(r.output(), "HUP") {
		t.Error("a HUP that regrow ignores has reached the tree")
	}
	if res := r.insist(t); res.status != 143 {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	noDescendants(t)
}

// TestTermAroundRelease sends TERM at random moments: it must cancel the restore or end
// the tree, and must never be lost.
func TestTermAroundRelease(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nfiles: {f: {type: reg, path: made, flags: [O_RDWR, O_CREAT]}}\ntasks:\n  - name: root\n    fds: {0: f}\n    children:\n")
	for i := range 40 {
		fmt.Fprintf(&b, "      - {name: t%d}\n", i)
	}
	path := write(t, b.String())
	made := filepath.Join(filepath.Dir(path), "made")
	canceled := 0
	n := rounds.Of(t, "", 15, 40)
	for i := range n {
		r := start(t, "", "restore", path)
		time.Sleep(3*time.Millisecond + time.Duration(i*40/n)*400*time.Microsecond)
		r.signal(t, unix.SIGTERM)
		res := wait(t, r)
		_, err := os.Stat(made)
		switch {
		case res.status == 125 && strings.Contains(res.errors, "canceled before release: got SIGTERM"):
			canceled++
			if err == nil {
				t.Errorf("round %d: the created file is still there", i)
			}
		case res.status == 128+int(unix.SIGTERM): // also if it came very early
		default:
			t.Errorf("round %d: status %d: %s", i, res.status, res.errors)
		}
		_ = os.Remove(made)
		noDescendants(t)
	}
	t.Logf("%d of %d restores were canceled", canceled, n)
}

// TestUSR1AroundRelease sends USR1 shortly before release or after it: it must reach the
// root.
func TestUSR1AroundRelease(t *testing.T) {
	path := write(t, "version: 1\ntasks: [{name: a, run: [sleep, '1000']}]\n")
	for range rounds.Of(t, "", 6, 20) {
		r := start(t, "", "restore", "--log-level", "info", path)
		within(t, "files made", func() bool { return r.logged("files made") })
		r.signal(t, unix.SIGUSR1)
		if res := wait(t, r); res.status != 128+int(unix.SIGUSR1) {
			t.Errorf("status %d, want 138: %s", res.status, res.errors)
		}
		noDescendants(t)
	}
}

// TestWhileReading sends TERM to a regrow that waits for its description, and runs another
// one into its timeout.
func TestWhileReading(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, "", "restore", fifo)
	time.Sleep(100 * time.Millisecond)
	r.signal(t, unix.SIGTERM)
	if res := wait(t, r); res.status != 128+int(unix.SIGTERM) {
		t.Errorf("status %d, want 143: %s", res.status, res.errors)
	}
	if res := run(t, "restore", "-d", "--timeout", "100ms", fifo); res.status != 1 || !strings.Contains(res.errors, "timed out before release, after 100ms") {
		t.Errorf("status %d, want 1: %s", res.status, res.errors)
	}
}
