package planner

import (
	"regrow/fdstore"
	"regrow/restore/internal/plan"
)

// FewAgain is for how many numbers a message is not worth its two calls.
const FewAgain = 16

// landingAgain chooses what the next message brings, and where that lands. A number
// that it reaches gets what it wants of the store at once, also if the task has that
// open file already:
//
//	wanted:   0 ─ log   1 ─ log   2 ─ log   3 ─ jobs.r
//	message:  log, log, log, jobs.r            and no dup3
//
// It gives the files back that do not come with it. The next call uses the memory of
// order and numbers.
func (tp *taskPlanner) landingAgain(files []plan.FileEnd) (order []plan.FileEnd, numbers []int, rest []plan.FileEnd) {
	sc := &tp.pl.scratch
	order, numbers = sc.order[:0], sc.numbers[:0]
	open := sc.open[:0]
	waiting := tp.waiting(files)
	most := min(len(files), fdstore.MaxGroup)
	for n := tp.table.Lowest(); len(numbers) < fdstore.MaxGroup; n++ {
		if tp.table.At.Has(n) {
			continue
		}
		fe := tp.wantsStored(n)
		if fe == plan.Nothing && len(numbers) >= most {
			break
		}
		switch {
		case fe == plan.Nothing:
			open = append(open, len(numbers))
		case len(numbers) < most && waiting.Has(fe):
			waiting.Remove(fe)
		default:
			most = min(most+1, fdstore.MaxGroup) // who waits lands further up
		}
		order, numbers = append(order, fe), append(numbers, n)
	}
	sc.order, sc.numbers, sc.open = order, numbers, open
	return order, numbers, fillOpen(order, open, files, waiting)
}

// pullAgain brings open files that the task has by now to more of their numbers, as
// long as a message is worth it.
func (tp *taskPlanner) pullAgain() {
	for {
		way := tp.way()
		order := tp.again()
		if len(order) < FewAgain {
			if n := len(way); n > 0 {
				tp.table.Release(way[n-1])
			}
			return
		}
		numbers := tp.table.Land(tp.pl.scratch.numbers, len(order))
		tp.pl.scratch.numbers = numbers
		tp.takeMessage(way, order, numbers)
	}
}

// again gives what the next free numbers want of the store, as far as a message
// should go. What wants nothing of it gets what the next one wants and is closed in
// the end, so at most a third may be such. The next call uses the memory.
func (tp *taskPlanner) again() []plan.FileEnd {
	last := tp.targets[len(tp.targets)-1].FD
	wanted := tp.pl.scratch.order[:0]
	count, worth := 0, 0
	for n := tp.table.Lowest(); n <= last && len(wanted) < 2*fdstore.MaxGroup; n++ {
		if tp.table.At.Has(n) {
			continue
		}
		fe := tp.wantsStored(n)
		wanted = append(wanted, fe)
		if fe == plan.Nothing {
			continue
		}
		if count++; 3*count >= 2*len(wanted) {
			worth = len(wanted)
		}
	}
	tp.pl.scratch.order = wanted
	wanted = wholePeriods(wanted[:worth])
	for i := len(wanted) - 2; i >= 0; i-- {
		if wanted[i] == plan.Nothing {
			wanted[i] = wanted[i+1]
		}
	}
	return wanted
}

// wantsStored gives the open file that a number wants, or nothing if that does not
// come out of the store.
func (tp *taskPlanner) wantsStored(n int) plan.FileEnd {
	if d := tp.wants(n); d != nil && tp.pl.stored[d.Open.Index] {
		return plan.EndOf(d)
	}
	return plan.Nothing
}

// wholePeriods gives as much of what is wanted as one message can bring: what comes
// again and again only in whole periods, so that it is the same message each time.
func wholePeriods(wanted []plan.FileEnd) []plan.FileEnd {
	most := min(len(wanted), fdstore.MaxGroup)
	if period := len(wanted) - LongestBorder(wanted); period <= most && period > 0 {
		most = most / period * period
	}
	for most > 0 && wanted[most-1] == plan.Nothing {
		most--
	}
	return wanted[:most]
}

// LongestBorder gives the length of the longest beginning, shorter than all, that is
// the end, too (Knuth, Morris, Pratt, "Fast Pattern Matching in Strings", 1977).
func LongestBorder(of []plan.FileEnd) int {
	border := make([]int, len(of)+1) // of the beginning of each length
	for i, n := 1, 0; i < len(of); i++ {
		for n > 0 && of[i] != of[n] {
			n = border[n]
		}
		if of[i] == of[n] {
			n++
		}
		border[i+1] = n
	}
	return border[len(of)]
}
