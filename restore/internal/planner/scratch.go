package planner

import (
	"regrow/restore/internal/assign"
	"regrow/restore/internal/landing"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/table"
	"regrow/tasktree"
)

// scratch is the working memory of planning a task. It is reused for the next one, since
// most tasks of a large tree are small and alike.
type scratch struct {
	table   table.Task
	choice  landing.Chooser
	uses    table.ByFile[int]
	targets []*tasktree.Descriptor
	ops     []program.Op
	notes   []program.Note
	key     []byte
	way     []int
	landed  []int32
}

// prepare makes the scratch for the tasks of a plan whose stored open files are known.
func (sc *scratch) prepare(p *plan.Plan, stored []bool) {
	ends := 1
	for _, f := range p.Tree.Files {
		ends = max(ends, len(f.Spec.Ends()))
	}
	n := len(p.Tree.Files)
	sc.table = table.NewTask(n, ends, p.Host.HardFiles)
	sc.choice = landing.NewChooser(&sc.table, stored, ends, assign.Repeats(p.Options))
	sc.uses = table.NewByFile[int](n, ends)
}

// begin empties the scratch for a task.
func (sc *scratch) begin(p *plan.Plan, task *tasktree.Task) {
	sc.targets = p.Sorted(sc.targets, task)
	sc.table.Begin(task, sc.targets)
}
