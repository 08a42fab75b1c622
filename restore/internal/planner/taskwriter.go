package planner

import (
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/limits"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/table"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// taskWriter writes the ops of one task that change its descriptor table, and tracks what
// the table holds. Those who plan a part of the task's program share it:
//
//	taskPlanner ─▶ root      what all tasks inherit
//	            ─▶ forker    the children, and who meets whom at a shared table
//	            ─▶ gatherer  open files: pulled, inherited, made; from a service by a client
//	            ─▶ installer their numbers
//	            ─▶ naive     both, without looking
type taskWriter struct {
	writer
	task  *tasktree.Task
	table *table.Task
	store int                // where the store's descriptor, or the way to the service, is; -1: the task has none
	full  *plan.RefusedError // a recipe needs a number, and none is free
}

// inTable notes that the task's table has no room for number n.
func (w *taskWriter) inTable(n int) {
	if hard := w.pl.plan.Host.HardFiles; uint64(n) >= hard && w.full == nil {
		w.full = limits.FullTable(w.pl.plan, w.task, w.task.Pos, n+1)
	}
}

// setCloexec gives an installed descriptor its flag.
func (w *taskWriter) setCloexec(d *tasktree.Descriptor) {
	flag := uint64(0)
	if d.Cloexec {
		flag = unix.FD_CLOEXEC
	}
	w.call(unix.SYS_FCNTL, uint64(d.FD), unix.F_SETFD, flag)
	w.note().Extra = w.pl.extra(plan.Extra{Name: "fcntl(F_SETFD)"})
	w.table.SetCloexec(d.FD, d.Cloexec)
}

// drop closes a number that a recipe does not need any more.
func (w *taskWriter) drop(n int) {
	w.call(unix.SYS_CLOSE, uint64(n))
	w.table.Release(n)
}

// limit gives the task the caller's RLIMIT_NOFILE back.
func (w *taskWriter) limit() {
	w.setLimit(w.pl.plan.Host.SoftFiles, w.pl.plan.Host.HardFiles)
}

// setLimit gives the task another RLIMIT_NOFILE.
func (w *taskWriter) setLimit(soft, hard uint64) {
	w.about(program.VerbLimit, w.task.Pos)
	w.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, w.pl.plan.Arena.Words([]uint64{soft, hard}), 0)
	// Even to the limit that the task has already, see do_prlimit in kernel/sys.c.
	w.note().Extra = w.pl.extra(plan.Extra{Hints: []recipe.Hint{{
		Errno: int(unix.EPERM),
		Text:  fmt.Sprintf("fs.nr_open is now lower than the hard limit of %d, or a sandbox refuses the call; lower the limit with ulimit -Hn", hard),
	}}})
}
