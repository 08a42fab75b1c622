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
	// At once: as long as this process has an end of a pipe, the tree does not see that its
	// last task has closed it. But not before the release, for which 10,000 tasks would
	// wait another 100 ms.
	r.files.CloseFDs()
	if err := r.files.CloseStore(); err != nil {
		r.log.WithError(err).Warn("the store could not be closed") // the tree has all of it
	}
	if err := watch.awaitPrograms(); err != nil {
		return nil, err
	}
	trace.LogOps(r.log, r.plan, r.arena)
	return r.newTree(), nil
}

// release makes the tree, and opens the gate once everything is as planned. If it returns
// for any other reason, the tasks end.
func (r *run) release(gate postfork.Gate, watch *watch) error {
	maps, err := r.keep()
	if err != nil {
		return err
	}
	r.started = time.Now()
	restored := r.trace.Stage("restore the tasks")
	if err := r.spawn(maps); err != nil {
		return err
	}
	watch.rootFD(r.root.fd)
	r.progress = newReporter(&r.loaded, r.options.Progress)
	if !gate.Wait() {
		return watch.failure()
	}
	if r.options.Ready != nil {
		if err := r.options.Ready(r.view()); err != nil {
			return err
		}
		if !gate.Wait() { // a task may have died meanwhile
			return watch.failure()
		}
		return nil
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

// keep tells the tasks which memory of this process to keep, and returns the ranges. The
// thread that clones the root must call it.
func (r *run) keep() (maps []proc.Mapping, err error) {
	if maps, err = memory.Own(); err != nil {
		return nil, err
	}
	h := r.arena.Head()
	o := &r.plan.Options
	var unknown error
	if h.Rseq, unknown = memory.Rseq(); unknown != nil {
		r.log.Debugf("tasks keep the C library's thread-local memory, where the kernel writes to (rseq): %v", unknown)
	}
	kept, err := memory.Keep(r.arena, maps, memory.Wanted{VDSO: o.VDSO, Code: len(o.Code) > 0, Local: unknown != nil})
	h.NKeep = uint32(copy(h.Keep[:], kept))
	return maps, err
}

// commit takes the steps that cannot be undone, unless a task has failed or died.
func (r *run) commit(watch *watch) error {
	if err := r.firstError(); err != nil {
		return err
	}
	if err := r.files.CheckCommit(); err != nil {
		return err
	}
	if !watch.released() {
		return watch.failure()
	}
	return r.files.Commit()
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

// end kills what there is of the tree, and waits until it is gone. The root was made.
func (r *run) end() {
	// The gate is decided. Tasks that it has let go and that have not looked yet end
	// sooner by this.
	postfork.Raise(&r.arena.Head().Left, program.AbortBit)
	_ = r.root.identify() // without a descriptor the pidfd alone must do
	r.family.end(r.root.ID, r.root.fd, r.madePIDs)
	_ = unix.Close(r.root.fd)
}
