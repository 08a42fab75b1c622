package table

import (
	"slices"

	"regrow/restore/internal/plan"
)

// Table is one task's descriptor table as the planner sees it: which numbers are taken,
// and by what. The kernel assigns the lowest free number, so the table shows where the
// next descriptor lands.
type Table struct {
	At   Numbered[plan.FileEnd]
	Free int // no lower number is free
}

// Lowest returns the number of the next descriptor.
func (t *Table) Lowest() int {
	for {
		if !t.At.Has(t.Free) {
			return t.Free
		}
		t.Free++
	}
}

// Take records what a number refers to now.
func (t *Table) Take(n int, what plan.FileEnd) { t.At.Set(n, what) }

// Release records that a number is free.
func (t *Table) Release(n int) {
	t.At.Remove(n)
	t.Free = min(t.Free, n)
}

// Land returns the lowest n free numbers, ascending, without taking them. It reuses the memory
// of in if that is large enough.
func (t *Table) Land(in []int, n int) []int {
	numbers := slices.Grow(in[:0], n)
	for i := t.Lowest(); len(numbers) < n; i++ {
		if !t.At.Has(i) {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// Holds returns what a number refers to, plan.Nothing if it is free.
func (t *Table) Holds(n int) plan.FileEnd {
	if what, taken := t.At.Get(n); taken {
		return what
	}
	return plan.Nothing
}
