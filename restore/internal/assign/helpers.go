package assign

import "regrow/restore/internal/plan"

// leastToHelp is from how many children on a helper is worth its own fork and end.
const leastToHelp = 16

// AllHelpers gives how many helpers all tasks have.
func AllHelpers(p *plan.Plan, exact bool) (n int) {
	for _, t := range p.Tree.Tasks() {
		plain := 0
		for _, child := range t.Children {
			if child.Carried == nil {
				plain++
			}
		}
		n += Helpers(p, exact, plain)
	}
	return n
}

// Helpers gives how many helpers a task has that forks so many children. There is
// none where pids are exact, or numbered from 1 in a namespace of their own: a helper
// takes a pid.
func Helpers(p *plan.Plan, exact bool, children int) int {
	switch {
	case exact || p.Options.Naive:
		return 0
	case p.Options.Help > 0:
		return min(p.Options.Help, children/2)
	}
	return max(0, min(p.Host.Processors-1, children/leastToHelp-1, plan.MostHelpers))
}
