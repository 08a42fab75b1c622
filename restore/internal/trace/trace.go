package trace

import (
	"sync"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// Trace records the times of the runner. A nil Trace records nothing. Times are nanoseconds
// of CLOCK_MONOTONIC, also for the tasks, which write theirs into the arena. Safe for several
// goroutines.
type Trace struct {
	mu     sync.Mutex // files are made in another goroutine than the one that gives up waiting
	began  int64
	steps  []step
	stages []*stage
}

// step is one op of the runner.
type step struct {
	prog       *program.Program
	op         int
	begin, end int64
}

// stage is a part of the runner's work for the whole tree.
type stage struct {
	name       string
	begin, end int64 // end 0: it has not ended
	moment     bool
}

// New returns a Trace whose time 0 is now.
func New() *Trace { return &Trace{began: monotonic()} }

// monotonic reads the clock that tasks also read.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for this clock
	return ts.Nano()
}

// Step records an op of the runner that is about to run. The caller calls done when it has
// run.
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

// Stage records a part of the runner's work for the whole tree, from now until done is
// called, or until the trace is written.
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

// Moment records that something has happened now.
func (t *Trace) Moment(name string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stages = append(t.stages, &stage{name: name, begin: monotonic(), moment: true})
}
