package runner

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// failure says why the restore was aborted: the first task that recorded a
// reason of its own, else what the watch saw.
func (r *run) failure(w *watch) error {
	if cause := w.cause(); cause != nil {
		return cause
	}
	var canceled error
	for i := range r.plan.Tasks {
		e := r.taskError(i)
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
	return fmt.Errorf("%s: restore: %w", r.plan.Tree.Source, plan.ErrCanceled)
}

// noteFailure gives the first failure that a task of a naive plan has noted: it
// went on, but the tree is not what was described.
func (r *run) noteFailure() error {
	for i := range r.plan.Tasks {
		if e := r.taskError(i); e != nil {
			return e
		}
	}
	return nil
}

// taskError explains the failure that a task has recorded, nil if it has none.
func (r *run) taskError(i int) error {
	rec, prog := r.arena.Record(i), &r.plan.Tasks[i]
	if rec.Errno == 0 {
		return nil
	}
	op, note := &prog.Ops[rec.Op], prog.Notes[rec.Op]
	reason, err := words.Reason(r.plan, op, note, rec.Errno, rec.Got)
	pid := r.plan.TaskPID(i, rec.PID)
	if note.Verb == program.VerbFork && errors.Is(err, unix.EEXIST) {
		reason = holderOf(r.plan, int(op.Want))
	}
	if whose, ok := note.For(op); ok && whose != i {
		i, pid = whose, 0 // the root has looked for a task that is not there yet
	}
	failed := words.Failed{Task: i, Prog: prog, Op: int(rec.Op), PID: pid, Err: err, Reason: reason, Explain: host.ExplainPath}
	if note.Verb == program.VerbExec || note.Verb == program.VerbFind {
		return words.ProgramError(r.plan, failed)
	}
	return words.OpError(r.plan, failed)
}

// end kills what there is of the tree, and waits until it is gone.
func (r *run) end() {
	if !r.root.made() {
		return
	}
	// The gate is decided. Tasks that it has let go and that have not looked yet end
	// sooner by this.
	postfork.Raise(&r.arena.Head().Left, program.AbortBit)
	_ = r.root.identify() // without a descriptor the pidfd alone must do
	r.family.end(r.root.ID, r.root.fd, r.taskPIDs)
	_ = unix.Close(r.root.fd)
}

// taskPIDs gives the numbers of the tasks and the helpers that have been made, where
// they are the host's.
func (r *run) taskPIDs() []int {
	if r.plan.Tree.HasNamespace(tasktree.NamespacePID) {
		return nil // the kernel ends a namespace with its root
	}
	var pids []int
	for i := range r.plan.Tasks {
		if pid := r.arena.Record(i).PID; pid > 0 {
			pids = append(pids, int(pid))
		}
		for j := range r.plan.Tasks[i].Ops {
			if op := &r.plan.Tasks[i].Ops[j]; op.Kind == program.OpHelp {
				pids = append(pids, r.arena.HelperPID(op))
			}
		}
	}
	return pids
}

// holderOf tells who has a pid, for the message of a pid in use.
func holderOf(p *plan.Plan, pid int) string {
	if p.Tree.HasNamespace(tasktree.NamespacePID) {
		return fmt.Sprintf("pid %d is in use", pid) // in a namespace whose /proc is not here
	}
	return fmt.Sprintf("pid %d is in use%s", pid, proc.HeldBy(pid))
}
