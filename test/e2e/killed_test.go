package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/test/rounds"
)

// below lists all descendants of a process, parents first.
func below(pid int) []int {
	all := childrenOf(pid)
	for i := 0; i < len(all); i++ {
		all = append(all, childrenOf(all[i])...)
	}
	return all
}

// alive counts the processes that are not zombies.
func alive(pids []int) int {
	n := 0
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(text[strings.LastIndexByte(string(text), ')'):]), ") Z") {
			n++
		}
	}
	return n
}

// reapOrphans reaps the orphans that are children of this process, a subreaper.
func reapOrphans() {
	for _, pid := range children() {
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

const killedTasks = 50

// killedTree is a tree of 50 tasks, some with programs, that makes a file and cuts
// another one.
func killedTree(dir string) string {
	var b strings.Builder
	b.WriteString("version: 1\nfiles:\n" +
		"  made: {type: reg, path: " + dir + "/made, flags: [O_CREAT, O_RDWR], content: made}\n" +
		"  cut: {type: reg, path: " + dir + "/cut, flags: [O_WRONLY, O_TRUNC]}\n" +
		"  null: {type: reg, path: /dev/null, flags: [O_RDWR]}\n" +
		"  p: {type: pipe, content: jobs}\n" +
		"tasks:\n  - name: root\n    fds: {0: p.r, 1: p.w, 5: cut}\n    children:\n")
	for i := 1; i < killedTasks; i += 2 {
		run := ""
		if i%10 == 1 {
			run = ", run: [sleep, '1000']"
		}
		fmt.Fprintf(&b, "      - name: a%d\n        fds: {0: null, 3: made, 4: p.w}\n", i)
		if i+1 < killedTasks {
			fmt.Fprintf(&b, "        children: [{name: b%d, fds: {0: p.r, 1: null, 2: made}%s}]\n", i, run)
		}
	}
	return b.String()
}

// killing is one round: a signal for a victim at some moment of a restore.
type killing struct {
	t     *testing.T
	dir   string
	what  string // describes the round in messages
	r     *running
	ended chan result
}

// released reports whether the report has come.
func (k *killing) released() bool { return strings.HasSuffix(k.r.output(), "}\n") }

func (k *killing) errorf(format string, args ...any) {
	k.t.Helper()
	text, _ := os.ReadFile(k.r.err)
	k.t.Errorf("%s: "+format+"\n%s", append(append([]any{k.what}, args...), text)...)
}

func (k *killing) read(name string) string {
	text, err := os.ReadFile(filepath.Join(k.dir, name))
	if err != nil {
		return "(none)"
	}
	return string(text)
}

// endOrRelease waits until regrow has ended, or the tree is released.
func (k *killing) endOrRelease() (res result, ended bool) {
	k.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case res := <-k.ended:
			return res, true
		case <-deadline:
			k.errorf("neither an end nor a release within %v", patience)
			_ = k.r.cmd.Process.Kill()
			return <-k.ended, true
		case <-time.After(500 * time.Microsecond):
			if k.released() {
				return result{}, false
			}
		}
	}
}

// finish ends a released tree and checks that the status is one of want.
func (k *killing) finish(want ...int) {
	k.t.Helper()
	_ = k.r.cmd.Process.Signal(unix.SIGTERM) // it fails if regrow has ended
	res := <-k.ended
	if !slices.Contains(want, res.status) {
		k.errorf("status %d, want one of %v", res.status, want)
	}
}

// untouched checks that nothing is left of a restore that was not released.
func (k *killing) untouched() {
	k.t.Helper()
	if made, cut := k.read("made"), k.read("cut"); made != "(none)" || cut != "whole" {
		k.errorf("files after a restore that was not released: made %q, cut %q", made, cut)
	}
}

// regrow checks the effect of a signal to regrow.
func (k *killing) regrow(sig unix.Signal) string {
	k.t.Helper()
	_ = k.r.cmd.Process.Signal(sig)
	switch sig {
	case unix.SIGSTOP:
		time.Sleep(5 * time.Millisecond)
		_ = k.r.cmd.Process.Signal(unix.SIGCONT)
		if res, ended := k.endOrRelease(); ended {
			k.errorf("status %d after a stop", res.status)
			return "failed"
		}
		if n := alive(below(k.r.cmd.Process.Pid)); n != killedTasks {
			k.errorf("%d tasks after a stop", n)
		}
		k.finish(143)
		return "went on"
	case unix.SIGKILL:
		res := <-k.ended
		if res.status != 137 {
			k.errorf("status %d, want 137", res.status)
		}
		// Either the whole tree is left, or nothing.
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			reapOrphans()
			left := children()
			if len(left) == 0 {
				return "nothing left"
			}
			if k.read("cut") == "" && len(left) == 1 && alive(append(below(left[0]), left...)) == killedTasks {
				time.Sleep(2 * time.Millisecond)
				if alive(append(below(left[0]), left...)) == killedTasks {
					return "lives on"
				}
			}
			if time.Now().After(deadline) {
				k.errorf("neither all of the tree nor nothing: %d of it", alive(below(os.Getpid())))
				return "failed"
			}
		}
	default: // TERM, INT
		res := <-k.ended
		switch {
		case res.status == 125 && strings.Contains(res.errors, "canceled before release: got "+unix.SignalName(sig)):
			k.untouched()
			return "canceled"
		case res.status == 128+int(sig):
			return "ended by the signal"
		}
		k.errorf("status %d", res.status)
		return "failed"
	}
}

// task checks the effect of a signal to a task.
func (k *killing) task(victim int, root bool, sig unix.Signal, slowest *time.Duration) string {
	k.t.Helper()
	sent := time.Now()
	_ = unix.Kill(victim, sig)
	if sig == unix.SIGSTOP {
		time.Sleep(5 * time.Millisecond)
		_ = unix.Kill(victim, unix.SIGCONT)
	}
	// The outcome after release. TERM ends the root.
	want := []int{143}
	if root && sig == unix.SIGKILL {
		want = []int{137}
	}
	res, ended := k.endOrRelease()
	switch {
	case !ended:
		if sig == unix.SIGSTOP {
			if n := alive(below(k.r.cmd.Process.Pid)); n != killedTasks {
				k.errorf("%d tasks after a stop", n)
			}
		}
		k.finish(append(want, 143)...)
		return "released"
	case sig == unix.SIGKILL && res.status == 125 && strings.Contains(res.errors, "died before release") && strings.Contains(res.errors, `task "`):
		*slowest = max(*slowest, time.Since(sent))
		k.untouched()
		return "noticed"
	case root && res.status == want[0]: // released, and ended at once
		return "ended with the root"
	}
	k.errorf("status %d", res.status)
	return "failed"
}

// TestKilledAtAnyMoment sends signals to regrow and to its tasks at random
// moments of a restore. REGROW_TEST_KILLS is the number of rounds,
// REGROW_TEST_SEED repeats a run.
func TestKilledAtAnyMoment(t *testing.T) {
	n, seed := rounds.Of(t, "REGROW_TEST_KILLS", 20, 200), rounds.Seed(t)
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	dir := t.TempDir()
	path := filepath.Join(dir, "tree.yaml")
	if err := os.WriteFile(path, []byte(killedTree(dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	fresh := func() {
		_ = os.Remove(filepath.Join(dir, "made"))
		if err := os.WriteFile(filepath.Join(dir, "cut"), []byte("whole"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	begin := func(what string) *killing {
		fresh()
		k := &killing{t: t, dir: dir, what: what, ended: make(chan result, 1)}
		k.r = start(t, "", "restore", "--json", path)
		go func() { k.ended <- wait(t, k.r) }()
		return k
	}
	var usual time.Duration
	for range 3 {
		began := time.Now()
		k := begin("without a signal")
		if _, ended := k.endOrRelease(); ended {
			t.Fatal("no release")
		}
		usual = max(usual, time.Since(began))
		k.finish(143)
		noDescendants(t)
	}
	t.Logf("%d rounds, seed %d, a restore takes up to %v", n, seed, usual)

	outcomes := map[string]int{}
	var slowest time.Duration
	signals := []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGINT, unix.SIGSTOP}
	for round := range n {
		if t.Failed() {
			return
		}
		sig := signals[rng.IntN(len(signals))]
		delay := time.Duration(rng.Int64N(int64(usual * 13 / 10)))
		pick := rng.IntN(4 * killedTasks) // a quarter of the rounds: regrow itself
		k := begin(fmt.Sprintf("round %d: %s after %v, pick %d", round, unix.SignalName(sig), delay, pick))
		time.Sleep(delay)
		pid := k.r.cmd.Process.Pid
		tasks := below(pid)
		if pick < killedTasks || len(tasks) == 0 {
			outcomes["regrow "+unix.SignalName(sig)+": "+k.regrow(sig)]++
		} else {
			if sig == unix.SIGINT {
				sig = unix.SIGTERM
			}
			i := pick % len(tasks)
			outcomes["task "+unix.SignalName(sig)+": "+k.task(tasks[i], i == 0, sig, &slowest)]++
		}
		endTree(t)
	}
	for _, what := range []string{
		"regrow SIGKILL: nothing left", "regrow SIGKILL: lives on", "regrow SIGTERM: canceled", "regrow SIGTERM: ended by the signal",
		"regrow SIGSTOP: went on", "task SIGKILL: noticed", "task SIGKILL: released", "task SIGTERM: released", "task SIGSTOP: released",
	} {
		if n >= 1000 && outcomes[what] == 0 {
			t.Errorf("never: %s", what)
		}
	}
	t.Logf("outcomes: %v", outcomes)
	t.Logf("from the kill of a task to the end of regrow: up to %v", slowest)
}

// TestRestoresAtOnce restores many trees at the same time in one network namespace: names
// of sockets must not collide, and trees must not be confused.
func TestRestoresAtOnce(t *testing.T) {
	path := write(t, "version: 1\nfiles: {p: {type: pipe, content: x}}\ntasks: [{name: a, fds: {0: p.r}, children: [{name: b, fds: {7: p.w}}, {name: c, fds: {0: p.r, 1: p.w}}]}]\n")
	for _, n := range []int{2, 50} {
		all := make([]*running, n)
		for i := range all {
			all[i] = start(t, "", "restore", "-d", "--json", path)
		}
		seen := map[string]bool{}
		for _, r := range all {
			rep := report(t, wait(t, r))
			pipe := ""
			for _, task := range rep.Tasks {
				for _, fd := range task.FDs {
					link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", task.HostPID, fd))
					if pipe == "" {
						pipe = link
					}
					if err != nil || link != pipe {
						t.Errorf("task %s: fd %d is %q (%v), the tree's pipe is %q", task.Name, fd, link, err, pipe)
					}
				}
			}
			if seen[pipe] {
				t.Errorf("%s belongs to two trees", pipe)
			}
			seen[pipe] = true
		}
		endTree(t)
	}
}

// TestTimeoutWhileForking stops a task before it is ready: the timeout must end the tasks
// that exist.
func TestTimeoutWhileForking(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nfiles: {p: {type: pipe}}\ntasks:\n  - name: root\n    fds: {0: p.r}\n    children:\n")
	for i := range 800 {
		fmt.Fprintf(&b, "      - {name: t%d, fds: {1: p.w}}\n", i)
	}
	path := write(t, b.String())
	stopInTime(t, path, []string{"-d"}, 1, "are not ready", func(pid int) int {
		if root := childrenOf(pid); len(root) == 1 {
			return root[0]
		}
		return 0
	})
}
