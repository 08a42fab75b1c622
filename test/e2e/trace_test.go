package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/restore"
)

// traced is a trace file, as viewers read it.
type traced struct {
	Events []tracedEvent `json:"traceEvents"`
}

type tracedEvent struct {
	Name, Cat, Ph string
	PID, TID, ID  int
	TS, Dur       float64
	Args          map[string]any
}

func readTrace(t *testing.T, path string) *traced {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var tr traced
	if err := json.Unmarshal(text, &tr); err != nil {
		t.Fatalf("%v\n%.2000s", err, text)
	}
	return &tr
}

// lane returns the spans of one lane, and its name.
func (tr *traced) lane(tid int) (name string, spans []tracedEvent) {
	for _, e := range tr.Events {
		switch {
		case e.TID == tid && e.Ph == "X":
			spans = append(spans, e)
		case e.TID == tid && e.Name == "thread_name":
			name = fmt.Sprint(e.Args["name"])
		}
	}
	return name, spans
}

func (tr *traced) moment(name string) (at float64, ok bool) {
	for _, e := range tr.Events {
		if e.Ph == "i" && e.Name == name {
			return e.TS, true
		}
	}
	return 0, false
}

const traceTree = `version: 1
files:
  jobs: {type: pipe}
  null: {type: reg, path: /dev/null}
  own: {type: reg, path: %q}
tasks:
  - name: root
    fds: {0: "null", 5: jobs.w}
    children:
      - name: holds
        fds: {3: jobs.r, 4: own}
        children: [{name: below, fds: {1: "null"}}]
      - {name: runs, run: [sleep, "1000"]}
`

// TestTrace compares the trace of a restore with the plan: a lane for each task, an event
// for each op, in order and without a gap, and the marks of the stages.
func TestTrace(t *testing.T) {
	path := write(t, fmt.Sprintf(traceTree, "/dev/zero"))
	file := filepath.Join(t.TempDir(), "trace.json")
	rep := report(t, run(t, "restore", "-d", "--json", "--trace", file, path))
	defer endTree(t)
	tr := readTrace(t, file)

	var plan restore.Picture
	if res := run(t, "plan", "--json", path); json.Unmarshal([]byte(res.out), &plan) != nil {
		t.Fatalf("no plan: %+v", res)
	}
	forked, ok1 := tr.moment("all tasks forked")
	ready, ok2 := tr.moment("all tasks ready")
	released, ok3 := tr.moment("released")
	if !ok1 || !ok2 || !ok3 || forked > ready || ready > released {
		t.Errorf("forked at %v, ready at %v, released at %v", forked, ready, released)
	}
	counted, waited := 0, 0
	for i, task := range plan.Tasks {
		name, spans := tr.lane(i + 1)
		spans = slices.DeleteFunc(spans, func(e tracedEvent) bool { return e.Name == "setsid" }) // plan knows no -d
		if want := fmt.Sprintf("%s (pid %d)", task.Name, rep.Tasks[i].PID); name != want {
			t.Errorf("lane %d is %q, want %q", i+1, name, want)
		}
		if len(spans) != len(task.Steps) {
			t.Fatalf("task %q: %d events, want %d", task.Name, len(spans), len(task.Steps))
		}
		for j, s := range spans {
			step := task.Steps[j]
			want := fmt.Sprintf("%s:%d:", path, step.Line)
			if s.Name != step.Call && !(i == 0 && s.TS < forked) || !strings.HasPrefix(fmt.Sprint(s.Args["line"]), want) || s.Args["for"] != step.For {
				t.Errorf("task %q: event %+v for step %+v", task.Name, s, step)
			}
			if gap := s.TS - (spans[max(j-1, 0)].TS + spans[max(j-1, 0)].Dur); i > 0 && j > 0 && (gap > 0.01 || gap < -0.01) {
				t.Errorf("task %q: %q begins %v µs after the previous one", task.Name, s.Name, gap)
			}
			if step.For == "count as ready" {
				counted++
				if s.Cat != "barrier" || s.TS > ready {
					t.Errorf("task %q: counts itself at %+v, all are ready at %v", task.Name, s, ready)
				}
			}
			if s.Name == "wait(Gate)" {
				waited++
				if s.Cat != "barrier" || s.TS+s.Dur < released {
					t.Errorf("task %q: waits at %+v, the release is at %v", task.Name, s, released)
				}
			}
			if strings.HasPrefix(s.Name, "pull(") != (s.Cat == "store") {
				t.Errorf("task %q: %+v", task.Name, s)
			}
		}
	}
	if counted != len(plan.Tasks) || waited != len(plan.Tasks) {
		t.Errorf("%d tasks count themselves and %d wait, want %d", counted, waited, len(plan.Tasks))
	}
	if _, spans := tr.lane(0); !slices.ContainsFunc(spans, func(e tracedEvent) bool { return e.Cat == "store" }) {
		t.Errorf("no event adds to the store: %+v", spans)
	}
	arrows := map[int]string{}
	for _, e := range tr.Events {
		if e.Cat == "fork" && e.Ph != "X" {
			arrows[e.ID] += e.Ph
		}
	}
	if want := map[int]string{1: "sf", 2: "sf", 3: "sf"}; fmt.Sprint(arrows) != fmt.Sprint(want) {
		t.Errorf("arrows from forks to tasks %v, want %v", arrows, want)
	}
}

// TestTraceOfFailure checks that a failed restore is traced too, with the failed op marked
// in its task's lane.
func TestTraceOfFailure(t *testing.T) {
	path := write(t, fmt.Sprintf(traceTree, "/nowhere/x"))
	file := filepath.Join(t.TempDir(), "trace.json")
	res := run(t, "restore", "-d", "--trace", file, path)
	if res.status != 1 {
		t.Fatalf("status %d: %s", res.status, res.errors)
	}
	noDescendants(t)
	tr := readTrace(t, file)
	_, spans := tr.lane(2)
	if n := len(spans); n == 0 || spans[n-1].Cat != "error" || !strings.Contains(fmt.Sprint(spans[n-1].Args["error"]), "no such file") {
		t.Errorf("the failed task's lane: %+v", spans)
	}
	if _, ok := tr.moment("failed"); !ok {
		t.Error("the failure is not marked")
	}
	if _, ok := tr.moment("released"); ok {
		t.Error("a failed tree was released")
	}
}

// TestTraceBeforeTasks checks the trace of a restore that fails before the first task, and
// the message if a trace cannot be written.
func TestTraceBeforeTasks(t *testing.T) {
	path := write(t, "version: 1\nfiles: {a: {type: reg, path: /nowhere/x}}\ntasks: [{name: r, fds: {1: a}, children: [{name: s, fds: {1: a}}]}]\n")
	file := filepath.Join(t.TempDir(), "trace.json")
	if res := run(t, "restore", "-d", "--trace", file, path); res.status != 1 {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	if _, ok := readTrace(t, file).moment("failed"); !ok {
		t.Error("the failure is not marked")
	}
	if res := run(t, "restore", "-d", "--trace", "/nowhere/trace", path); res.status != 1 || !strings.Contains(res.errors, "regrow: trace: open /nowhere/trace: no such file") {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	path = write(t, "version: 1\ntasks: [{name: r}]\n")
	res := run(t, "restore", "-d", "--trace", "/dev/full", path)
	if res.status != 0 || !strings.Contains(res.errors, "the trace could not be written") {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	endTree(t)
}

// TestTraceWithoutReader traces into a FIFO that no process reads: a signal must end the
// wait, and the tree must still be restored.
func TestTraceWithoutReader(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "trace")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := unix.Open(fifo, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(reader)
	for _, c := range []struct {
		flags  []string
		status int
	}{
		{nil, 143},
		{[]string{"-d"}, 0},
	} {
		if _, err := unix.Read(reader, make([]byte, 1<<20)); err != nil && !errors.Is(err, unix.EAGAIN) { // data of the previous run
			t.Fatal(err)
		}
		r := start(t, "", append([]string{"restore", "--trace", fifo, writeWide(t, 300)}, c.flags...)...)
		within(t, "the beginning of the trace", func() bool {
			fds := []unix.PollFd{{Fd: int32(reader), Events: unix.POLLIN}}
			_, _ = unix.Poll(fds, 0)
			return fds[0].Revents&unix.POLLIN != 0
		})
		r.signal(t, unix.SIGTERM)
		res := wait(t, r)
		if res.status != c.status || !strings.Contains(res.errors, "the trace could not be written") {
			t.Errorf("%v: status %d, want %d: %s", c.flags, res.status, c.status, res.errors)
		}
		if c.status == 0 && len(children()) == 0 {
			t.Error("the tree does not live on")
		}
		endTree(t)
	}
}

// TestDebugLog checks that each descriptor of each task is logged, with its fields.
func TestDebugLog(t *testing.T) {
	path := write(t, fmt.Sprintf(traceTree, "/dev/zero"))
	res := run(t, "restore", "-d", "--json", "--log-level", "debug", path)
	rep := report(t, res)
	defer endTree(t)
	for _, want := range []struct {
		task    int
		message string
		fd      int
		file    string
	}{
		{0, `regrow: debug: dup3: `, 5, "jobs.w"},
		{1, `regrow: debug: pull: `, 0, "jobs.r"},
		{1, `regrow: debug: dup3: `, 3, "jobs.r"},
		{2, `regrow: debug: pull: `, 0, "null"},
	} {
		task := rep.Tasks[want.task]
		fields := []string{fmt.Sprintf("fd=%d ", want.fd), "file=" + want.file + " ", fmt.Sprintf("pid=%d ", task.PID), "task=" + task.Name, want.message}
		found := false
		for line := range strings.Lines(res.errors) {
			found = found || !slices.ContainsFunc(fields, func(f string) bool { return !strings.Contains(line+" ", f) })
		}
		if !found {
			t.Errorf("no line has %q:\n%s", fields, res.errors)
		}
	}
}

// TestProgress stops a restore for a while: the terminal must show its progress, and the
// progress line must be gone when the tree writes to the terminal.
func TestProgress(t *testing.T) {
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
	const tasks = 200
	var b strings.Builder
	b.WriteString("version: 1\nfiles: {out: {type: inherit, key: stdout}}\ntasks:\n  - name: root\n    fds: {1: out}\n    run: [/bin/echo, the tree, speaks]\n    children:\n")
	for i := range tasks - 1 {
		fmt.Fprintf(&b, "      - {name: t%d, fds: {1: out}}\n", i)
	}
	path := write(t, b.String())
	for range 60 {
		term := newTerminal(t)
		stopped, shown := term.stopped(path, tasks, func() bool { return strings.Contains(term.output(), "status=0.") })
		if stopped != 0 {
			_ = unix.Kill(stopped, unix.SIGCONT)
		}
		term.shows("status=0.", 1)
		out := term.output()
		term.keys("exit\n")
		term.hangUp()
		noDescendants(t)
		if !shown {
			continue // the stop came after the release
		}
		_, drawn, _ := strings.Cut(out, "status=$?.")
		bar, rest, ok := strings.Cut(drawn, "the tree speaks\r\n")
		if !ok || !strings.Contains(bar, "forked ") || !strings.Contains(bar, "installed ") {
			t.Errorf("the terminal shows %q", out)
		}
		// The progress line must be cleared, and must not appear later.
		if last := bar[strings.LastIndex(bar, "released")+1:]; !strings.Contains(last, "\x1b[J") || strings.Contains(rest, "forked") {
			t.Errorf("the progress line is still there when the tree writes: %q, then %q", bar, rest)
		}
		return
	}
	t.Error("no restore could be stopped in time")
}

// stopped starts a restore of n tasks and stops its root before the restore is over. It
// returns the root's pid, 0 if it was too late, and whether the terminal then shows the
// progress. The shell prints regrow's status.
func (term *terminal) stopped(path string, tasks int, over func() bool) (pid int, shown bool) {
	term.t.Helper()
	if err := unix.IoctlSetWinsize(term.fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		term.t.Fatal(err)
	}
	term.keys(regrow + " restore " + path + "; echo status=$?.\n")
	for deadline := time.Now().Add(20 * time.Second); pid == 0 && time.Now().Before(deadline) && !over(); {
		for _, job := range childrenOf(term.shell.Process.Pid) {
			if root := childrenOf(job); len(root) == 1 && unix.Kill(root[0], unix.SIGSTOP) == nil {
				pid = root[0]
			}
		}
	}
	for deadline := time.Now().Add(3 * time.Second); pid != 0 && !shown && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		shown = strings.Contains(term.output(), fmt.Sprintf(" of %d", tasks))
	}
	return pid, shown
}

// TestProgressOnStuckTerminal stops the terminal's output (Ctrl-S) while a restore shows
// its progress: the tree must still be released.
func TestProgressOnStuckTerminal(t *testing.T) {
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
	released := filepath.Join(t.TempDir(), "released")
	path := write(t, strings.Replace(wideTree(200), "  - name: root\n", "  - name: root\n    run: [/bin/touch, "+released+"]\n", 1))
	for range 60 {
		term := newTerminal(t)
		stopped, shown := term.stopped(path, 201, func() bool {
			_, err := os.Stat(released)
			return err == nil
		})
		if stopped != 0 {
			term.keys("\x13")
			time.Sleep(200 * time.Millisecond) // for a frame that the terminal does not accept
			_ = unix.Kill(stopped, unix.SIGCONT)
		}
		within(t, "the release", func() bool {
			_, err := os.Stat(released)
			return err == nil
		})
		term.hangUp()
		within(t, "the end of regrow", func() bool { reapOrphans(); return len(children()) == 0 })
		if shown {
			return
		}
		if err := os.Remove(released); err != nil {
			t.Fatal(err)
		}
	}
	t.Error("no restore could be stopped in time")
}

// TestNoProgress checks that nothing is drawn if standard error is not a terminal.
func TestNoProgress(t *testing.T) {
	path := writeWide(t, 300)
	r := start(t, "", "restore", "-d", path)
	var root []int
	within(t, "the root", func() bool { root = childrenOf(r.cmd.Process.Pid); return len(root) == 1 })
	if unix.Kill(root[0], unix.SIGSTOP) == nil {
		time.Sleep(700 * time.Millisecond)
		_ = unix.Kill(root[0], unix.SIGCONT)
	}
	if res := wait(t, r); res.status != 0 || res.errors != "" {
		t.Errorf("status %d: %q", res.status, res.errors)
	}
	endTree(t)
}
