package assign

import (
	"slices"

	"regrow/restore/internal/plan"
)

// Lent chooses where the root, and so every task, has each open file:
// where most tasks want it, if no file that more of them want is there, else at
// the lowest numbers. A naive plan takes numbers as they come, 0, 1, 2.
func Lent(p *plan.Plan) []plan.Lent {
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
	var lent []plan.Lent
	for _, fe := range all {
		n, has := number[fe]
		if !has {
			for taken[next] {
				next++
			}
			n, taken[next] = next, true
		}
		lent = append(lent, plan.Lent{FileEnd: fe, Number: n})
	}
	return lent
}
