package landing

import (
	"slices"

	"regrow/fdstore"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/table"
	"regrow/tasktree"
)

// Chooser chooses messages for one task after the other.
type Chooser struct {
	table   *table.Task
	stored  []bool // by file index: comes through the store
	repeats bool   // a message may bring an open file more than once

	marked        table.ByFile[bool]
	pulled, order []plan.FileEnd
	own           []*tasktree.Descriptor
	numbers, open []int
}

// NewChooser returns a Chooser for the tasks of table t. stored has, by file index, the open
// files that come through the store. ends is the largest number of ends of an open file. With
// repeats, a message may bring an open file more than once.
func NewChooser(t *table.Task, stored []bool, ends int, repeats bool) Chooser {
	return Chooser{table: t, stored: stored, repeats: repeats, marked: table.NewByFile[bool](len(stored), ends)}
}

// Sources returns the open files that the task pulls from the store, and one descriptor of
// each open file that it makes itself, in the order of numbers. The results are valid until
// the next call.
func (c *Chooser) Sources() (pulled []plan.FileEnd, own []*tasktree.Descriptor) {
	pulled, own = c.pulled[:0], c.own[:0]
	c.marked.Reset()
	for _, d := range c.table.Targets {
		of := plan.EndOf(d)
		if !c.stored[of.File] {
			of.End = 0 // all ends are made at once
		}
		switch {
		case c.marked.Has(of):
			continue
		case c.stored[of.File]:
			pulled = append(pulled, of)
		default:
			own = append(own, d)
		}
		c.marked.Set(of, true)
	}
	c.pulled, c.own = pulled, own
	return pulled, own
}

// Next chooses the open files of the next message, and the numbers at which they land. rest
// are the files that do not come with it. order and numbers are valid until the next call.
func (c *Chooser) Next(files []plan.FileEnd) (order []plan.FileEnd, numbers []int, rest []plan.FileEnd) {
	if c.repeats {
		return c.repeating(files)
	}
	numbers = c.land(min(len(files), fdstore.MaxGroup))
	order, rest = c.Order(files, numbers)
	return order, numbers, rest
}

// land returns the lowest n free numbers.
func (c *Chooser) land(n int) []int {
	c.numbers = c.table.Land(c.numbers, n)
	return c.numbers
}

// Order chooses which of the files come with a message that lands on these numbers, and
// in which order. A file whose own number is among them lands on it. rest are the other
// files. order is valid until the next call.
func (c *Chooser) Order(files []plan.FileEnd, numbers []int) (order, rest []plan.FileEnd) {
	order = slices.Grow(c.order[:0], len(numbers))[:len(numbers)]
	waiting := c.waiting(files)
	open := c.open[:0]
	for i, n := range numbers {
		if d := c.table.Wants(n); d != nil && waiting.Has(plan.EndOf(d)) {
			order[i] = plan.EndOf(d)
			waiting.Remove(plan.EndOf(d))
			continue
		}
		open = append(open, i)
	}
	c.order, c.open = order, open
	return order, fillOpen(order, open, files, waiting)
}

// waiting marks the files that have no place in a message yet. The result is valid until the
// next call.
func (c *Chooser) waiting(files []plan.FileEnd) *table.ByFile[bool] {
	waiting := &c.marked
	waiting.Reset()
	for _, fe := range files {
		waiting.Set(fe, true)
	}
	return waiting
}

// fillOpen puts waiting files into the open places of a message, and returns those that are
// left.
func fillOpen(order []plan.FileEnd, open []int, files []plan.FileEnd, waiting *table.ByFile[bool]) (rest []plan.FileEnd) {
	for _, fe := range files {
		switch {
		case !waiting.Has(fe):
		case len(open) > 0:
			order[open[0]] = fe
			open = open[1:]
		default:
			rest = append(rest, fe)
		}
	}
	return rest
}
