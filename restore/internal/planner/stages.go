package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/assign"
	"regrow/restore/internal/program"
	"regrow/tasktree/recipe"
)

// The program of a task, with the stages at which the steps of attributes stand:
//
//	begin ─ Enter ─ Session ─ fork ─ Turns ─ Groups ─ pull, make, install, clean ─ Wired ─ limit ─
//	look up program ─ Place ─ folder ─ name ─ Deaths ─ Rights ─ LastFiles ─ Stops ─
//	gate ═ commit ═ Last ─ mask ─ End ─ program, or hold
//	└ or it ends here, by plan
//
// A stage is a position and no meeting: a task without attributes makes no call more,
// and waits for nobody but at the gate.

// stage writes the steps of the attributes that stand here.
func (tp *taskPlanner) stage(s recipe.Stage) {
	here := assign.Point{Task: tp.task.Index, Stage: s}
	for _, counter := range tp.pl.steps.Await[here] {
		tp.about(program.VerbMeet, tp.pl.steps.Pos[counter])
		tp.add(program.OpAwait, counter)
	}
	if own := tp.pl.steps.Of(tp.task.Index); own != nil {
		tp.steps(own.At[s])
	}
	for _, counter := range tp.pl.steps.Pass[here] {
		tp.about(program.VerbMeet, tp.pl.steps.Pos[counter])
		a := tp.pl.plan.Arena
		tp.call(unix.SYS_FUTEX, a.CountDown(counter-a.Base)...)
	}
}

func (tp *taskPlanner) steps(steps []assign.Step) {
	for _, x := range steps {
		if !tp.pl.plan.Host.Holds(x.Call.When) {
			continue
		}
		tp.about(program.VerbAttribute, x.Pos)
		if x.Use != nil {
			tp.verb, tp.fd, tp.file, tp.end = program.VerbWire, x.Use.FD, x.File, x.Use.End
			tp.lenient = tp.pl.plan.Options.Naive // the table may be another one
		}
		op := tp.recipe(program.OpCall, x.Call, func(*program.Op, int, recipe.Ref) int {
			panic("restore: bug: an attribute has no open file of its own")
		})
		if x.Keep != 0 {
			op.Keep(tp.pl.plan.Arena.Base, x.Keep)
		}
		tp.lenient = false
	}
}

// leave ends a task that ends by plan, and reports whether this one does. It is counted
// as ready while the kernel still tells of its death: a task that is killed before that
// would be waited for.
func (tp *taskPlanner) leave() bool {
	own := tp.pl.steps.Of(tp.task.Index)
	if own == nil || len(own.Ends) == 0 {
		return false
	}
	tp.about(program.VerbLeave, own.Ends[0].Pos)
	a := tp.pl.plan.Arena
	tp.add(program.OpStore, program.BegunToEnd, a.Record(tp.task.Index)+program.RecordBegun)
	tp.call(unix.SYS_FUTEX, a.CountDown(program.HeadLeft)...)
	tp.call(unix.SYS_SET_ROBUST_LIST, 0, robustListHead)
	tp.steps(own.Ends)
	return true
}
