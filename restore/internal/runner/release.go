package runner

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/memory"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
	"regrow/restore/internal/trace"
	"regrow/restore/internal/words"
)

// forkAndRelease makes the tree, waits until it is ready, commits, and waits until
// every task holds or has begun its program.
//
//	closed ──clone──▶ tasks count down Left ──0──▶ committed ──ops──▶ open: released
//	                      │ abort, death, timeout              │ an op fails
//	                      ▼                                    ▼
//	                 dead: tasks end                      dead: tasks end
func (r *run) forkAndRelease(ctx context.Context) (*Tree, error) {
	watch := r.watch(ctx)
	defer watch.stop()
	defer func() { r.progress.stop() }() // not before the gate is decided
	err := r.arena.DecideGate(func(gate postfork.Gate) error { return r.release(gate, watch) })
	switch {
	case errors.Is(err, postfork.ErrGate) && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS)):
		return nil, &plan.HostError{Source: r.plan.Tree.Source, Lacks: []plan.Lack{{
			Pos: r.plan.Tree.Root.Pos, Err: err,
			Msg: "a sandbox (a seccomp filter) refuses robust futexes, by which tasks learn that regrow was killed; allow set_robust_list and get_robust_list there",
		}}}
	case errors.Is(err, postfork.ErrGate):
		return nil, fmt.Errorf("restore: %w", err)
	case err != nil || r.options.Ready != nil:
		return nil, err
	}
	// At once, for as long as this process has an end of a pipe the tree does not learn
	// that its last task has closed it; but not sooner, for 10,000 tasks wait 100 ms.
	r.closeSlots()
	if err := r.closeStore(); err != nil {
		r.log.WithError(err).Warn("the store could not be closed") // the tree has all of it
	}
	if err := r.awaitPrograms(watch); err != nil {
		return nil, err
	}
	trace.LogOps(r.log, r.plan, r.arena)
	return r.tree()
}

// release makes the tree, and opens the gate once all is as it should be. Whatever
// else it returns on, the tasks end.
func (r *run) release(gate postfork.Gate, watch *watch) error {
	maps, err := memory.Own()
	if err != nil {
		return err
	}
	kept, err := memory.Keep(r.arena, maps)
	if err != nil {
		return err
	}
	h := r.arena.Head()
	h.NKeep = uint32(copy(h.Keep[:], kept))

	r.started = time.Now()
	restored := r.trace.Stage("restore the tasks")
	if err := r.spawn(maps); err != nil {
		return err
	}
	watch.rootFD(r.root.fd)
	r.progress = r.reportProgress()
	if err := r.await(watch, &h.Left); err != nil {
		return err
	}
	if r.options.Ready != nil {
		if err := r.options.Ready(r.view()); err != nil {
			return err
		}
		return r.await(watch, &h.Left) // a task may have died meanwhile
	}
	if err := r.commit(watch); err != nil {
		return err
	}
	if r.plan.Held < len(r.plan.Tasks) {
		r.progress.stop()
	}
	r.family.note()
	restored()
	r.trace.Moment("released")
	gate.Open()
	r.elapsed = time.Since(r.started)
	r.log.WithFields(logrus.Fields{"tasks": len(r.plan.Tasks), "elapsed": r.elapsed}).Info("released")
	return nil
}

// commit does what cannot be undone, if nothing speaks against it.
func (r *run) commit(watch *watch) error {
	if err := r.noteFailure(); err != nil {
		return err
	}
	if err := r.checkCommit(); err != nil {
		return err
	}
	if !watch.released() {
		return r.failure(watch)
	}
	return r.carryOut(&r.plan.Commit)
}

func (r *run) spawn(maps []proc.Mapping) error {
	root := r.plan.Tree.Root
	pid, err := r.arena.Spawn(r.plan.RootClone, postfork.SpawnOptions{
		OldClone: r.plan.Host.OldClone,
		Trace:    r.trace != nil || trace.Debugging(r.log), // logFailed wants to know how far tasks came
		Heap:     memory.Heap(maps, uint64(reflect.ValueOf(r).Pointer())),
	})
	if err == nil {
		r.root.PID, r.root.fd = pid, int(int32(r.arena.Head().RootPIDFD))
		if err := r.root.identify(); err != nil && !lacksRoom(err) { // else it is asked again once files of ours are closed
			return fmt.Errorf("restore: %w", err)
		}
		return nil
	}
	e := &plan.OpError{
		Source: r.plan.Tree.Source, Pos: root.Pos, Task: root.Name, What: "fork", Call: words.CloneName(r.plan), Err: err,
	}
	for _, h := range r.plan.Extras[r.plan.ForkHints].Hints {
		if errors.Is(err, unix.Errno(h.Errno)) {
			e.Reason = h.Text
		}
	}
	if errors.Is(err, unix.EEXIST) {
		e.Pos, e.Reason = root.PID.Pos, holderOf(r.plan, int(root.PID.Value))
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return &plan.HostError{Source: r.plan.Tree.Source, Lacks: []plan.Lack{{
			Pos: root.Pos, Err: err,
			Msg: fmt.Sprintf("this kernel or a sandbox refuses %s for the root task (new namespaces and exact pids need CAP_SYS_ADMIN)", words.CloneName(r.plan)),
		}}}
	}
	return e
}

// await waits until a count of tasks is down to zero.
func (r *run) await(w *watch, count *uint32) error {
	for {
		v := postfork.Load(count)
		if v&program.AbortBit != 0 {
			return r.failure(w)
		}
		if v == 0 {
			return nil
		}
		postfork.Wait(count, v, time.Second)
	}
}

// awaitHeld waits until every task without a program holds, or was killed after
// release before it could: then nobody counts for it.
func (r *run) awaitHeld(w *watch) error {
	h := r.arena.Head()
	for {
		v := postfork.Load(&h.Started)
		if v&program.AbortBit != 0 {
			return r.failure(w)
		}
		if v == 0 || w.stopsWaiting() {
			return nil
		}
		waiting := false
		for i, task := range r.plan.Tree.Tasks() {
			rec := r.arena.Record(i)
			if task.Holds() && postfork.Load(&rec.Holds) == 0 && postfork.Load(&rec.Word)&program.FutexDead == 0 {
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
func (r *run) awaitPrograms(w *watch) error {
	h := r.arena.Head()
	if err := r.awaitHeld(w); err != nil {
		return err
	}
	for i, task := range r.plan.Tree.Tasks() {
		if task.Holds() {
			continue
		}
		rec := r.arena.Record(i)
		for {
			word := postfork.Load(&rec.Word)
			if postfork.Load(&h.Started)&program.AbortBit != 0 {
				return r.failure(w)
			}
			if word&program.FutexDead != 0 || i == 0 && w.rootDied() || w.stopsWaiting() {
				break
			}
			postfork.Raise(&rec.Word, program.FutexWaiters)
			postfork.Wait(&rec.Word, word|program.FutexWaiters, 100*time.Millisecond)
		}
	}
	if postfork.Load(&h.Started)&program.AbortBit != 0 {
		return r.failure(w)
	}
	return nil
}
