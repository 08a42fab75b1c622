package planner

import (
	"slices"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
)

// lentNumbers chooses where the root, and so every task, has each open file:
// where most tasks want it, if no file that more of them want is there, else at
// the lowest numbers. A naive plan takes numbers as they come, 0, 1, 2.
func (pl *planner) lentNumbers() {
	p := pl.plan
	type wish struct {
		plan.FileEnd
		number, tasks int
	}
	votes := map[wish]int{}
	var all []plan.FileEnd
	for i, f := range p.Tree.Files {
		seen := map[int]bool{}
		for _, u := range f.Uses {
			votes[wish{FileEnd: plan.FileEnd{File: int32(i), End: int32(u.End)}, number: u.FD}]++
			seen[u.End] = true
		}
		for end := range max(1, len(f.Spec.Ends())) {
			if seen[end] {
				all = append(all, plan.FileEnd{File: int32(i), End: int32(end)})
			}
		}
	}
	number, taken := map[plan.FileEnd]int{}, map[int]bool{}
	if !p.Options.Naive {
		var wishes []wish
		for w, n := range votes {
			if w.number < 4*len(all) { // a far one would make every task's table large
				w.tasks = n
				wishes = append(wishes, w)
			}
		}
		slices.SortFunc(wishes, func(a, b wish) int {
			for _, d := range []int{b.tasks - a.tasks, a.number - b.number, int(a.File - b.File), int(a.End - b.End)} {
				if d != 0 {
					return d
				}
			}
			return 0
		})
		for _, w := range wishes {
			if _, has := number[w.FileEnd]; !has && !taken[w.number] && uint64(w.number) < p.Host.HardFiles {
				number[w.FileEnd], taken[w.number] = w.number, true
			}
		}
	}
	next := 0
	for _, fe := range all {
		n, has := number[fe]
		if !has {
			for taken[next] {
				next++
			}
			n, taken[next] = next, true
		}
		p.Lent = append(p.Lent, plan.Lent{FileEnd: fe, Number: n})
	}
}

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

// gatherInherited notes where the files are that this task needs: they came
// with the fork.
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
