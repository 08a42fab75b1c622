package landing

import (
	"regrow/fdstore"
	"regrow/restore/internal/plan"
)

// FewRepeated is the smallest number of repeated files that is worth a message of its own,
// which takes two system calls.
const FewRepeated = 16

// repeating is Next if open files may come more than once. Each number that the message
// reaches gets its own file from the store, even if the task already has that open
// file:
//
//	described:   0 ─ log   1 ─ log   2 ─ log   3 ─ jobs.r
//	message:     log, log, log, jobs.r            and no dup3
func (c *Chooser) repeating(files []plan.FileEnd) (order []plan.FileEnd, numbers []int, rest []plan.FileEnd) {
	order, numbers = c.order[:0], c.numbers[:0]
	open := c.open[:0]
	waiting := c.waiting(files)
	most := min(len(files), fdstore.MaxGroup)
	for n := c.table.Lowest(); len(numbers) < fdstore.MaxGroup; n++ {
		if c.table.At.Has(n) {
			continue
		}
		fe := c.wantsStored(n)
		if fe == plan.Nothing && len(numbers) >= most {
			break
		}
		switch {
		case fe == plan.Nothing:
			open = append(open, len(numbers))
		case len(numbers) < most && waiting.Has(fe):
			waiting.Remove(fe)
		default:
			most = min(most+1, fdstore.MaxGroup) // the waiting file lands at a higher number
		}
		order, numbers = append(order, fe), append(numbers, n)
	}
	c.order, c.numbers, c.open = order, numbers, open
	return order, numbers, fillOpen(order, open, files, waiting)
}

// Repeat returns a message that brings open files of the task to more of their numbers,
// and where they land. order is empty if no message is worth its cost any more. The
// results are valid until the next call.
func (c *Chooser) Repeat() (order []plan.FileEnd, numbers []int) {
	if !c.repeats {
		return nil, nil
	}
	if order = c.repeated(); len(order) < FewRepeated {
		return nil, nil
	}
	return order, c.land(len(order))
}

// repeated returns the stored files of the next free numbers, as far as a message is
// worth its cost. A number without a stored file is filled with the file of the next
// number and closed afterwards; at most a third of a message may be such filler.
func (c *Chooser) repeated() []plan.FileEnd {
	last := c.table.Targets[len(c.table.Targets)-1].FD
	wanted := c.order[:0]
	count, worth := 0, 0
	for n := c.table.Lowest(); n <= last && len(wanted) < 2*fdstore.MaxGroup; n++ {
		if c.table.At.Has(n) {
			continue
		}
		fe := c.wantsStored(n)
		wanted = append(wanted, fe)
		if fe == plan.Nothing {
			continue
		}
		if count++; 3*count >= 2*len(wanted) {
			worth = len(wanted)
		}
	}
	c.order = wanted
	wanted = wholePeriods(wanted[:worth])
	for i := len(wanted) - 2; i >= 0; i-- {
		if wanted[i] == plan.Nothing {
			wanted[i] = wanted[i+1]
		}
	}
	return wanted
}

// wantsStored returns the open file that belongs at a number, or plan.Nothing if that does not
// come through the store.
func (c *Chooser) wantsStored(n int) plan.FileEnd {
	if d := c.table.Wants(n); d != nil && c.stored[d.Open.Index] {
		return plan.EndOf(d)
	}
	return plan.Nothing
}

// wholePeriods returns a prefix that fits into one message. If the files repeat with a
// period, it is a whole number of periods, so that the same message can be pulled again.
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

// LongestBorder returns the length of the longest proper prefix that is also a suffix (Knuth,
// Morris, Pratt, "Fast Pattern Matching in Strings", 1977).
func LongestBorder(of []plan.FileEnd) int {
	border := make([]int, len(of)+1) // by length of the prefix
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
