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

// taskError explains the failure that a process has recorded, nil if it has none: the
// task with that number, or a helper.
func (l *loaded) taskError(record int) error {
	rec := l.arena.Record(record)
	if rec.Errno == 0 {
		return nil
	}
	i, first := l.plan.Process(record)
	prog, at := &l.plan.Tasks[i], first+int(rec.Op)
	op, note := &prog.Ops[at], prog.Notes[at]
	reason, err := words.Reason(l.plan, op, note, rec.Errno, rec.Got)
	pid := l.plan.TaskPID(i, l.arena.Record(i).PID)
	if note.Verb == program.VerbFork && errors.Is(err, unix.EEXIST) {
		reason = holderOf(l.plan, int(op.Want))
	}
	if whose, ok := note.For(op); ok && whose != i {
		i, pid = whose, 0 // the root has looked for a task that is not there yet
	}
	failed := words.Failed{Task: i, Prog: prog, Op: at, PID: pid, Err: err, Reason: reason, Explain: host.ExplainPath}
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
