package runner

import (
	"errors"
	"time"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
)

// How the runner waits for tasks, beside what the watch sees.

// awaitHeld waits until every task without a program holds. A task that is killed after the
// release and before it counts itself is found by its record: a task counts itself, notes
// that it holds, and drops its robust list, in this order, so a killed one has either noted
// it, or the kernel has marked its word.
func (w *watch) awaitHeld() error {
	h := w.arena.Head()
	for {
		v := postfork.Load(&h.Started)
		if v&program.AbortBit != 0 {
			return w.failure()
		}
		if v == 0 || w.stopsWaiting() {
			return nil
		}
		waiting := false
		for i, task := range w.plan.Tree.Tasks() {
			rec := w.arena.Record(i)
			if task.Holds() && postfork.Load(&rec.Holds) == 0 && postfork.Load(&rec.Begun) != program.BegunToEnd && postfork.Load(&rec.Word)&program.FutexDead == 0 {
				waiting = true
				break
			}
		}
		if !waiting {
			return nil
		}
		postfork.Wait(&h.Started, v, 20*time.Millisecond)
	}
}

// awaitPrograms waits until every task holds or has begun its program.
func (w *watch) awaitPrograms() error {
	h := w.arena.Head()
	if err := w.awaitHeld(); err != nil {
		return err
	}
	for i, task := range w.plan.Tree.Tasks() {
		if task.Holds() {
			continue
		}
		rec := w.arena.Record(i)
		for {
			word := postfork.Load(&rec.Word)
			if postfork.Load(&h.Started)&program.AbortBit != 0 {
				return w.failure()
			}
			if word&program.FutexDead != 0 || i == 0 && w.rootDied() || w.stopsWaiting() {
				break
			}
			postfork.Raise(&rec.Word, program.FutexWaiters)
			postfork.Wait(&rec.Word, word|program.FutexWaiters, 100*time.Millisecond)
		}
	}
	if postfork.Load(&h.Started)&program.AbortBit != 0 {
		return w.failure()
	}
	return nil
}

// failure says why the restore was aborted: the first task that recorded a
// reason of its own, else what the watch saw.
func (w *watch) failure() error {
	if cause := w.cause(); cause != nil {
		return cause
	}
	var canceled error
	for i := range w.plan.Processes() {
		e := w.taskError(i)
		if e == nil {
			continue
		}
		if !errors.Is(e, plan.ErrCanceled) {
			return e
		}
		canceled = e
	}
	if canceled != nil {
		return canceled
	}
	return w.errorf("%w", plan.ErrCanceled)
}
