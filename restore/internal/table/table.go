package table

import (
	"slices"

	"regrow/restore/internal/plan"
)

// Table is the planner's view of one task's descriptor table: which numbers are
// taken, and by what. The kernel gives out the lowest free number, so whoever
// knows the table knows where the next descriptor lands.
type Table struct {
	At   Numbered[plan.FileEnd]
	Free int // no number below is free
}

// Lowest gives the number that the next descriptor will land at.
func (t *Table) Lowest() int {
	for {
		if !t.At.Has(t.Free) {
			return t.Free
		}
		t.Free++
	}
}

// Take says what is at a number now.
func (t *Table) Take(n int, what plan.FileEnd) { t.At.Set(n, what) }

// Release says that a number is free.
func (t *Table) Release(n int) {
	t.At.Remove(n)
	t.Free = min(t.Free, n)
}

// Land gives the lowest n free numbers, ascending, without taking them, in memory
// that is used again if it is large enough.
func (t *Table) Land(in []int, n int) []int {
	numbers := slices.Grow(in[:0], n)
	for i := t.Lowest(); len(numbers) < n; i++ {
		if !t.At.Has(i) {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// Holds gives what is at a number, nothing if it is free.
func (t *Table) Holds(n int) plan.FileEnd {
	if what, taken := t.At.Get(n); taken {
		return what
	}
	return plan.Nothing
}
