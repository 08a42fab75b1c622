package trace

import (
	"sync"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// Trace collects what the runner does when. A nil Trace collects nothing. Times are
// nanoseconds of CLOCK_MONOTONIC, for the runner and for the tasks, which write theirs
// into the arena. Safe for several goroutines.
type Trace struct {
	mu     sync.Mutex // files are made beside what gives up on them
	began  int64
	steps  []step
	stages []*stage
}

// step is an op of the runner's own.
type step struct {
	prog       *program.Program
	op         int
	begin, end int64
}

// stage is something that the runner does for the whole tree.
type stage struct {
	name       string
	begin, end int64 // end 0: it did not come to an end
	moment     bool
}

// New begins a trace: its time 0 is now.
func New() *Trace { return &Trace{began: monotonic()} }

// monotonic reads the clock that tasks note the time by.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // fails for no clock that there is
	return ts.Nano()
}

// Step notes an op of the runner's that is about to run. The caller calls done when it
// has.
func (t *Trace) Step(prog *program.Program, op int) (done func()) {
	if t == nil {
		return func() {}
	}
	begin := monotonic()
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.steps = append(t.steps, step{prog, op, begin, monotonic()})
	}
}

// Stage notes what the runner does for the whole tree from now on, until done is called.
// Without that it lasts until the trace is written.
func (t *Trace) Stage(name string) (done func()) {
	if t == nil {
		return func() {}
	}
	s := &stage{name: name, begin: monotonic()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stages = append(t.stages, s)
	return func() { s.end = monotonic() }
}

// Moment notes that something has happened.
func (t *Trace) Moment(name string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stages = append(t.stages, &stage{name: name, begin: monotonic(), moment: true})
}
