package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/assign"
	"regrow/restore/internal/program"
	"regrow/tasktree"
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

// wirer collects the steps of a task's attributes, and of those of its open files that
// it takes itself.
type wirer struct {
	pl    *planner
	task  *tasktree.Task
	pos   tasktree.Pos
	use   *tasktree.Use // whose steps these are, nil: an attribute's
	file  int
	steps [recipe.Stages][]wiring
	ends  []wiring // the call by which the task ends by plan
}

// wiring is one call, and what asks for it.
type wiring struct {
	pos  tasktree.Pos
	use  *tasktree.Use
	file int
	call recipe.Call
	keep uint64 // the address for its result, 0: none
}

func (w *wirer) wiring(c recipe.Call, keep uint64) wiring {
	return wiring{w.pos, w.use, w.file, c, keep}
}

// At implements [recipe.Wirer].
func (w *wirer) At(pos tasktree.Pos) {
	if pos.IsValid() {
		w.pos = pos
	}
}

// Call implements [recipe.Wirer].
func (w *wirer) Call(s recipe.Stage, c recipe.Call) {
	w.steps[s] = append(w.steps[s], w.wiring(c, 0))
}

// Result implements [recipe.Wirer].
func (w *wirer) Result(s recipe.Stage, c recipe.Call) recipe.Cell {
	cell := w.Cell()
	w.steps[s] = append(w.steps[s], w.wiring(c, uint64(cell)))
	return cell
}

// Cell implements [recipe.Wirer].
func (w *wirer) Cell() recipe.Cell { return recipe.Cell(w.pl.plan.Arena.Cell()) }

// After implements [recipe.Wirer].
func (w *wirer) After(s recipe.Stage, task string, t recipe.Stage) {
	w.pl.waits = append(w.pl.waits, assign.Wait{
		Before: assign.Point{Task: w.task.Index, Stage: s},
		Until:  assign.Point{Task: w.pl.plan.Tree.TaskNamed(task).Index, Stage: t},
		Pos:    w.pos,
	})
}

// Leave implements [recipe.Wirer].
func (w *wirer) Leave(c recipe.Call) { w.ends = append(w.ends, w.wiring(c, 0)) }

// collect has the attributes of all tasks, and the open files that they have, write their
// steps, and plans who waits for whom: a task may be waited for by any other one.
func (pl *planner) collect() (err error) {
	t := pl.plan.Tree
	pl.attributes = make([]*wirer, len(pl.plan.Tasks))
	wirerOf := func(task *tasktree.Task) *wirer {
		w := pl.attributes[task.Index]
		if w == nil {
			w = &wirer{pl: pl, task: task}
			pl.attributes[task.Index] = w
		}
		w.pos = task.Pos
		return w
	}
	for _, task := range t.Tasks() {
		task.EachAttribute(func(a tasktree.Attribute) { a.Wire(wirerOf(task)) })
	}
	for _, f := range t.Files {
		wired, ok := f.Spec.(tasktree.Wired)
		if !ok {
			continue
		}
		for i := range f.Uses {
			w := wirerOf(f.Uses[i].Task)
			w.pos, w.use, w.file = f.Pos, &f.Uses[i], f.Index
			wired.Wire(t, f.Uses[i], w)
		}
	}
	pl.counters, err = assign.CountersOf(pl.plan, pl.waits, func(task int) bool { w := pl.attributes[task]; return w != nil && len(w.ends) > 0 })
	return err
}

// stage writes the steps of the attributes that stand here.
func (tp *taskPlanner) stage(s recipe.Stage) {
	here := assign.Point{Task: tp.task.Index, Stage: s}
	for _, counter := range tp.pl.counters.Await[here] {
		tp.about(program.VerbMeet, tp.pl.counters.Pos[counter])
		tp.add(program.OpAwait, counter)
	}
	if tp.attributes != nil {
		tp.steps(tp.attributes.steps[s])
	}
	for _, counter := range tp.pl.counters.Pass[here] {
		tp.about(program.VerbMeet, tp.pl.counters.Pos[counter])
		a := tp.pl.plan.Arena
		tp.call(unix.SYS_FUTEX, a.CountDown(counter-a.Base)...)
	}
}

func (tp *taskPlanner) steps(steps []wiring) {
	for _, x := range steps {
		if !tp.pl.plan.Host.Holds(x.call.When) {
			continue
		}
		tp.about(program.VerbAttribute, x.pos)
		if x.use != nil {
			tp.verb, tp.fd, tp.file, tp.end = program.VerbWire, x.use.FD, x.file, x.use.End
			tp.lenient = tp.pl.plan.Options.Naive // the table may be another one
		}
		op := tp.recipe(program.OpCall, x.call, func(*program.Op, int, recipe.Ref) int {
			panic("restore: bug: an attribute has no open file of its own")
		})
		if x.keep != 0 {
			op.Keep(tp.pl.plan.Arena.Base, x.keep)
		}
		tp.lenient = false
	}
}

// leave ends a task that ends by plan, and reports whether this one does. It is counted
// as ready while the kernel still tells of its death: a task that is killed before that
// would be waited for.
func (tp *taskPlanner) leave() bool {
	if tp.attributes == nil || len(tp.attributes.ends) == 0 {
		return false
	}
	tp.about(program.VerbLeave, tp.attributes.ends[0].pos)
	a := tp.pl.plan.Arena
	tp.add(program.OpStore, program.BegunToEnd, a.Record(tp.task.Index)+program.RecordBegun)
	tp.call(unix.SYS_FUTEX, a.CountDown(program.HeadLeft)...)
	tp.call(unix.SYS_SET_ROBUST_LIST, 0, robustListHead)
	tp.steps(tp.attributes.ends)
	return true
}
