package runner

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// firstError gives the first failure that a task of a naive plan has noted: it
// went on, but the tree is not what was described.
func (l *loaded) firstError() error {
	for i := range l.plan.Tasks {
		if e := l.taskError(i); e != nil {
			return e
		}
	}
	return nil
}

// taskError explains the failure that a task has recorded, nil if it has none.
func (l *loaded) taskError(i int) error {
	rec, prog := l.arena.Record(i), &l.plan.Tasks[i]
	if rec.Errno == 0 {
		return nil
	}
	op, note := &prog.Ops[rec.Op], prog.Notes[rec.Op]
	reason, err := words.Reason(l.plan, op, note, rec.Errno, rec.Got)
	pid := l.plan.TaskPID(i, rec.PID)
	if note.Verb == program.VerbFork && errors.Is(err, unix.EEXIST) {
		reason = holderOf(l.plan, int(op.Want))
	}
	if whose, ok := note.For(op); ok && whose != i {
		i, pid = whose, 0 // the root has looked for a task that is not there yet
	}
	failed := words.Failed{Task: i, Prog: prog, Op: int(rec.Op), PID: pid, Err: err, Reason: reason, Explain: host.ExplainPath}
	if note.Verb == program.VerbExec || note.Verb == program.VerbFind {
		return words.ProgramError(l.plan, failed)
	}
	return words.OpError(l.plan, failed)
}

// holderOf tells who has a pid, for the message of a pid in use.
func holderOf(p *plan.Plan, pid int) string {
	if p.Tree.HasNamespace(tasktree.NamespacePID) {
		return fmt.Sprintf("pid %d is in use", pid) // in a namespace whose /proc is not here
	}
	return fmt.Sprintf("pid %d is in use%s", pid, proc.HeldBy(pid))
}

// failedOps gives the first op of each task that has failed.
func (l *loaded) failedOps() []*plan.FailedOp {
	failed := make([]*plan.FailedOp, len(l.plan.Tasks))
	for i := range failed {
		if rec := l.arena.Record(i); rec.Errno != 0 {
			failed[i] = words.FailedOp(l.plan, i, int(rec.Op), unix.Errno(rec.Errno))
		}
	}
	return failed
}
