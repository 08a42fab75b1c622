package restore

import (
	"slices"

	"regrow/restore/internal/plan"
)

// table is the planner's view of one task's descriptor table: which numbers are
// taken, and by what. The kernel gives out the lowest free number, so whoever
// knows the table knows where the next descriptor lands.
type table struct {
	at   numbered[plan.FileEnd]
	free int // no number below is free
}

// lowest gives the number that the next descriptor will land at.
func (t *table) lowest() int {
	for {
		if !t.at.has(t.free) {
			return t.free
		}
		t.free++
	}
}

func (t *table) take(n int, what plan.FileEnd) { t.at.set(n, what) }

func (t *table) release(n int) {
	t.at.remove(n)
	t.free = min(t.free, n)
}

// land gives the lowest n free numbers, ascending, without taking them, in memory
// that is used again if it is large enough.
func (t *table) land(in []int, n int) []int {
	numbers := slices.Grow(in[:0], n)
	for i := t.lowest(); len(numbers) < n; i++ {
		if !t.at.has(i) {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// holds gives what is at a number, nothing if it is free.
func (t *table) holds(n int) plan.FileEnd {
	if what, taken := t.at.get(n); taken {
		return what
	}
	return plan.Nothing
}
