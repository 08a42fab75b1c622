package model

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// life is the state of a task apart from its table.
type life struct {
	limit    uint64 // the soft RLIMIT_NOFILE: numbers are below it
	leads    bool   // it leads a session
	ready    bool   // counted in Head.Left
	released bool   // let through the gate
	holds    bool   // counted in Head.Started
	leaving  bool   // it has noted that it ends
	unlisted bool   // the kernel no longer tells of its death
	over     bool   // it runs a program, holds, or has ended: no op may follow
	gone     bool   // it has ended
}

// may demands that an op can follow what the task has done. One that is counted as ready
// can only wait for the release, or end: whatever else could fail must have been done by
// then, since the tree may be released at any moment.
func (l *life) may(op *program.Op) error {
	switch {
	case l.over:
		return errors.New("the task runs a program, holds or has ended: no op can follow")
	case l.leaving && op.Kind != program.OpCall:
		return errors.New("the task has noted that it ends: only the calls that end the task can follow")
	case l.ready && !l.released && !l.leaving && op.Kind != program.OpGate:
		return errors.New("the task is counted as ready, so it can only wait for the release")
	}
	if op.Kind == program.OpCall && op.Nr == unix.SYS_SET_ROBUST_LIST && op.Args[0] == 0 {
		l.unlisted = true
	}
	return nil
}

func (l *life) countReady() error {
	if l.ready {
		return errors.New("the task is counted as ready a second time")
	}
	l.ready = true
	return nil
}

func (l *life) countHeld() error {
	if l.holds {
		return errors.New("the task is counted as holding a second time")
	}
	l.holds = true
	return l.mustBeReleased()
}

// pass lets a task through the gate, which waits until all have counted.
func (l *life) pass() error {
	if !l.ready {
		return errors.New("the task waits for the release and is not counted as ready")
	}
	l.released = true
	return nil
}

// mustBeReleased demands that the task has been let through the gate.
func (l *life) mustBeReleased() error {
	if !l.released {
		return errors.New("the task does not wait for the release")
	}
	return nil
}

// hold ends the program of a task that becomes no other.
func (l *life) hold() error {
	if !l.holds {
		return errors.New("the task holds and is not counted")
	}
	l.over = true
	return l.mustBeReleased()
}

// end ends a task. One that ends before it has noted that, or while the kernel still tells
// of its death, is taken for one that was killed; one that is not counted as ready is
// waited for. Either way the restore fails.
func (l *life) end() error {
	if !l.leaving || !l.ready || !l.unlisted {
		return fmt.Errorf("the task ends, and it has noted that: %v, is counted as ready: %v, has no robust list: %v", l.leaving, l.ready, l.unlisted)
	}
	l.over, l.gone = true, true
	return nil
}

// ended demands that a task which has noted that it ends does.
func (m *Model) ended(task int) error {
	if l := m.life[task]; l.leaving && !l.gone {
		return fmt.Errorf("restore: bug: task %q has noted that it ends, and does not", m.name(task))
	}
	return nil
}
