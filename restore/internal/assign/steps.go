package assign

import (
	"regrow/restore/internal/plan"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// Steps are the calls that the tasks of a tree make for their attributes, and for those
// of their open files that need it, and who waits for whom.
type Steps struct {
	Counters

	plan  *plan.Plan
	tasks []*TaskSteps
	waits []Wait
}

// TaskSteps are those of one task.
type TaskSteps struct {
	At   [recipe.Stages][]Step
	Ends []Step // the call by which the task ends by plan
}

// Step is one call, and what asks for it.
type Step struct {
	Pos  tasktree.Pos
	Use  *tasktree.Use // the descriptor for whose open file the call is made, nil: for an attribute
	File int           // index of this open file
	Call recipe.Call
	Keep uint64 // the address for its result, 0: none
}

// StepsOf collects the steps of all tasks before any program is written, because a task
// may be waited for by any other one. The error is that of [CountersOf].
func StepsOf(p *plan.Plan) (*Steps, error) {
	s := &Steps{plan: p, tasks: make([]*TaskSteps, len(p.Tasks))}
	for _, task := range p.Tree.Tasks() {
		task.EachAttribute(func(a tasktree.Attribute) { a.Wire(s.wirer(task, task.Pos)) })
	}
	for _, f := range p.Tree.Files {
		wired, ok := f.Spec.(tasktree.Wired)
		if !ok {
			continue
		}
		for i := range f.Uses {
			w := s.wirer(f.Uses[i].Task, f.Pos)
			w.use, w.file = &f.Uses[i], f.Index
			wired.Wire(p.Tree, f.Uses[i], w)
		}
	}
	var err error
	s.Counters, err = CountersOf(p, s.waits, func(task int) bool { return s.tasks[task] != nil && len(s.tasks[task].Ends) > 0 })
	return s, err
}

// Of gives the steps of a task, nil if it has none.
func (s *Steps) Of(task int) *TaskSteps { return s.tasks[task] }

func (s *Steps) wirer(task *tasktree.Task, pos tasktree.Pos) *wirer {
	if s.tasks[task.Index] == nil {
		s.tasks[task.Index] = &TaskSteps{}
	}
	return &wirer{all: s, task: task, steps: s.tasks[task.Index], pos: pos}
}

// wirer takes the steps of one attribute, or of one descriptor.
type wirer struct {
	all   *Steps
	task  *tasktree.Task
	steps *TaskSteps
	pos   tasktree.Pos
	use   *tasktree.Use
	file  int
}

func (w *wirer) step(c recipe.Call, keep uint64) Step { return Step{w.pos, w.use, w.file, c, keep} }

// At implements [recipe.Wirer].
func (w *wirer) At(pos tasktree.Pos) {
	if pos.IsValid() {
		w.pos = pos
	}
}

// Call implements [recipe.Wirer].
func (w *wirer) Call(s recipe.Stage, c recipe.Call) {
	w.steps.At[s] = append(w.steps.At[s], w.step(c, 0))
}

// Result implements [recipe.Wirer].
func (w *wirer) Result(s recipe.Stage, c recipe.Call) recipe.Cell {
	cell := w.Cell()
	w.steps.At[s] = append(w.steps.At[s], w.step(c, uint64(cell)))
	return cell
}

// Cell implements [recipe.Wirer].
func (w *wirer) Cell() recipe.Cell { return recipe.Cell(w.all.plan.Arena.Cell()) }

// After implements [recipe.Wirer].
func (w *wirer) After(s recipe.Stage, task string, t recipe.Stage) {
	w.all.waits = append(w.all.waits, Wait{
		Before: Point{w.task.Index, s}, Until: Point{w.all.plan.Tree.TaskNamed(task).Index, t}, Pos: w.pos,
	})
}

// Leave implements [recipe.Wirer].
func (w *wirer) Leave(c recipe.Call) { w.steps.Ends = append(w.steps.Ends, w.step(c, 0)) }
