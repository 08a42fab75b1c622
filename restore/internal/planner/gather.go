package planner

import (
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// gatherer writes how the open files of a task get into its table.
type gatherer struct{ *taskWriter }

// gather brings every open file of the task into its table: pulled from the
// store or made by itself, at numbers that follow from the kernel's rule of the
// lowest free one. The order of a message is chosen so that as many as possible
// land where they belong.
func (g gatherer) gather() error {
	if g.pl.plan.Options.Strategy == plan.StrategyInherit {
		g.gatherInherited()
		return nil
	}
	pulled, own := g.pl.scratch.choice.Sources()
	if len(pulled) > 0 {
		if err := g.clearStore(); err != nil {
			return err
		}
		if g.pl.plan.Options.Strategy == plan.StrategyService {
			if err := g.pop(pulled); err != nil {
				return err
			}
		} else {
			g.pull(pulled)
		}
	}
	for _, d := range own {
		g.letGo()
		g.make(d)
	}
	if g.full != nil {
		return g.full
	}
	return nil
}

// make lets the task make an open file that only it uses.
func (g gatherer) make(d *tasktree.Descriptor) {
	f := d.Open
	g.about(program.VerbMake, f.Pos)
	g.fd, g.file = d.FD, f.Index
	m := &taskMaker{taskWriter: g.taskWriter, file: f, NoRunner: recipe.NoRunner{File: f.Name}}
	refs := f.Spec.Make(g.pl.plan.Tree, m)
	m.own = refs
	if filled, ok := f.Spec.(tasktree.Filled); ok {
		filled.Fill(g.pl.plan.Tree, m)
	}
	if shaped, ok := f.Spec.(tasktree.Shaped); ok {
		shaped.Shape(g.pl.plan.Tree, m)
	}
	used := map[int]bool{}
	for _, u := range f.Uses {
		used[u.End] = true
	}
	kept := map[int]bool{}
	for end, ref := range refs {
		if used[end] {
			n := m.numbers[ref]
			fe := plan.FileEnd{File: int32(f.Index), End: int32(end)}
			g.table.Put(n, fe, true)
			kept[n] = true
		}
	}
	for _, n := range m.numbers {
		if g.table.Holds(n) == plan.Helper && !kept[n] {
			g.drop(n)
		}
	}
}
