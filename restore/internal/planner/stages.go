package planner

import (
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// The program of a task, with the stages at which the calls of attributes stand:
//
//	begin ─ fork ─ Forked ─ pull, make, install, clean ─ Wired ─ limit ─ look up program ─
//	Place ─ folder ─ name ─ Rights ─ gate ═ commit ═ Last ─ mask ─ program, or hold
//
// A stage is a position and no meeting: a task without attributes makes no call more.

// wirer collects the calls of a task's attributes.
type wirer struct {
	pos   tasktree.Pos
	calls [recipe.Stages][]struct {
		pos  tasktree.Pos // that asks for the call
		call recipe.Call
	}
}

// At implements [recipe.Wirer].
func (w *wirer) At(pos tasktree.Pos) {
	if pos.IsValid() {
		w.pos = pos
	}
}

// Call implements [recipe.Wirer].
func (w *wirer) Call(s recipe.Stage, c recipe.Call) {
	w.calls[s] = append(w.calls[s], struct {
		pos  tasktree.Pos
		call recipe.Call
	}{w.pos, c})
}

// collect has the attributes of the task write their calls.
func (tp *taskPlanner) collect() {
	tp.task.EachAttribute(func(a tasktree.Attribute) {
		tp.attributes.pos = tp.task.Pos
		a.Wire(&tp.attributes)
	})
}

// stage writes the calls of the attributes that stand here.
func (tp *taskPlanner) stage(s recipe.Stage) {
	for _, x := range tp.attributes.calls[s] {
		if !tp.pl.plan.Host.Holds(x.call.When) {
			continue
		}
		tp.about(program.VerbAttribute, x.pos)
		tp.recipe(program.OpCall, x.call, func(*program.Op, int, recipe.Ref) int {
			panic("restore: bug: an attribute has no open file of its own")
		})
	}
}
