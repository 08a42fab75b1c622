package planner

import (
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
)

// lend plans how the runner tells the root where its open files are.
func (pl *planner) lend() {
	p := pl.plan
	w := &writer{pl: pl, prog: p.Prepare}
	for i := range p.Lent {
		l := &p.Lent[i]
		l.Cell = p.Arena.Cell()
		w.about(program.VerbLend, p.Tree.Files[l.File].Pos)
		w.file, w.end = int(l.File), int(l.End)
		w.add(program.OpLend, uint64(pl.plan.SlotsOf[l.FileEnd]), l.Cell)
	}
	p.Prepare = w.prog
}

// gatherInherited notes where the task's open files are: they came with the fork.
func (g gatherer) gatherInherited() {
	needed := map[plan.FileEnd]bool{}
	for _, d := range g.table.Targets {
		needed[plan.EndOf(d)] = true
	}
	for _, l := range g.pl.plan.Lent {
		g.table.SetCloexec(l.Number, true)
		if needed[l.FileEnd] {
			g.table.SetPlace(l.FileEnd, l.Number)
		}
	}
}
