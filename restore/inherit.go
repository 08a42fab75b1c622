package restore

import (
	"slices"

	"regrow/restore/internal/program"
)

// lentNumbers chooses where the root, and so every task, has each open file:
// where most tasks want it, if no file that more of them want is there, else at
// the lowest numbers. A naive plan takes numbers as they come, 0, 1, 2.
func (pl *planner) lentNumbers() {
	p := pl.plan
	type wish struct {
		fileEnd
		number, tasks int
	}
	votes := map[wish]int{}
	var all []fileEnd
	for i, f := range p.tree.Files {
		seen := map[int]bool{}
		for _, u := range f.Uses {
			votes[wish{fileEnd: fileEnd{int32(i), int32(u.End)}, number: u.FD}]++
			seen[u.End] = true
		}
		for end := range max(1, len(f.Spec.Ends())) {
			if seen[end] {
				all = append(all, fileEnd{int32(i), int32(end)})
			}
		}
	}
	number, taken := map[fileEnd]int{}, map[int]bool{}
	if !p.options.Naive {
		var wishes []wish
		for w, n := range votes {
			if w.number < 4*len(all) { // a far one would make every task's table large
				w.tasks = n
				wishes = append(wishes, w)
			}
		}
		slices.SortFunc(wishes, func(a, b wish) int {
			for _, d := range []int{b.tasks - a.tasks, a.number - b.number, int(a.file - b.file), int(a.end - b.end)} {
				if d != 0 {
					return d
				}
			}
			return 0
		})
		for _, w := range wishes {
			if _, has := number[w.fileEnd]; !has && !taken[w.number] && uint64(w.number) < p.host.HardFiles {
				number[w.fileEnd], taken[w.number] = w.number, true
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
		p.lent = append(p.lent, lent{fileEnd: fe, number: n})
	}
}

// lend plans how the runner tells the root where its open files are.
func (pl *planner) lend() {
	p := pl.plan
	w := &writer{pl: pl, prog: p.prepare}
	for i := range p.lent {
		l := &p.lent[i]
		l.cell = p.arena.Cell()
		w.about(program.VerbLend, p.tree.Files[l.file].Pos)
		w.file, w.end = int(l.file), int(l.end)
		w.add(program.OpLend, uint64(pl.plan.slotsOf[l.fileEnd]), l.cell)
	}
	p.prepare = w.prog
}

// gatherInherited notes where the files are that this task needs: they came
// with the fork.
func (tp *taskPlanner) gatherInherited() {
	needed := map[fileEnd]bool{}
	for _, d := range tp.targets {
		needed[endOf(d)] = true
	}
	for _, l := range tp.pl.plan.lent {
		tp.cloexec.set(l.number, true)
		if needed[l.fileEnd] {
			tp.at.set(l.fileEnd, l.number)
		}
	}
}
