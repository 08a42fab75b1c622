package tasktree

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Cloexec lists descriptors of a task that are close-on-exec. Most of a real
// program are.
type Cloexec struct {
	All    Text   // said: all of them; its Value is "all"
	Ranges []Text // "3", "7-10"; empty: those that say so themselves
}

// Said reports whether any are said to be.
func (c *Cloexec) Said() bool { return c.All.Said() || len(c.Ranges) > 0 }

// pos gives the place of the first.
func (c *Cloexec) pos() Pos {
	if c.All.Said() || len(c.Ranges) == 0 {
		return c.All.Pos
	}
	return c.Ranges[0].Pos
}

// Range gives the first and the last number of an entry of Ranges; ok is false for one that
// is neither a number nor a range.
func (c *Cloexec) Range(i int) (lo, hi int, ok bool) { return numbers(c.Ranges[i].Value) }

// Covers gives what reports whether a number is among them.
func (c *Cloexec) Covers() func(fd int) bool {
	where := c.Where()
	return func(fd int) bool {
		_, covered := where(fd)
		return covered
	}
}

// Where gives what tells whether a number is among them, and the place of an entry that has
// it. There may be as many ranges as descriptors, so both are not gone through for each
// other.
func (c *Cloexec) Where() func(fd int) (at Pos, covered bool) {
	if c.All.Said() {
		return func(int) (Pos, bool) { return c.All.Pos, true }
	}
	type span struct {
		lo, hi int
		at     Pos
	}
	var spans []span
	for i := range c.Ranges {
		if lo, hi, ok := c.Range(i); ok {
			spans = append(spans, span{lo, hi, c.Ranges[i].Pos})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.lo - b.lo })
	for i := 1; i < len(spans); i++ {
		if before := spans[i-1]; before.hi > spans[i].hi { // of this one and all before
			spans[i].hi, spans[i].at = before.hi, before.at
		}
	}
	return func(fd int) (Pos, bool) {
		behind, _ := slices.BinarySearchFunc(spans, fd+1, func(s span, fd int) int { return s.lo - fd })
		if behind == 0 || fd > spans[behind-1].hi {
			return Pos{}, false
		}
		return spans[behind-1].at, true
	}
}

// numbers reads "3" or "7-10": plain decimal digits.
func numbers(s string) (lo, hi int, ok bool) {
	first, last, ranged := strings.Cut(s, "-")
	if !ranged {
		last = first
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil || strconv.Itoa(n) != s || n > MaxFD {
			return -1
		}
		return n
	}
	lo, hi = number(first), number(last)
	return lo, hi, lo >= 0 && hi >= lo
}

// cloexec marks the descriptors that the list of a task has.
func (c *checker) cloexec(task *Task, path *KeyPath) {
	if !task.Cloexec.Said() || task.SharesFiles.Said() { // a table that is shared is described elsewhere, see shareRule
		return
	}
	path = path.Sub("cloexec")
	has := task.numbersAmong()
	for i, r := range task.Cloexec.Ranges {
		lo, hi, ok := task.Cloexec.Range(i)
		if !ok {
			c.bad(r.Pos, path.Entry(i), "%q is neither a number nor a range; write 7, or 7-10", r.Value)
			continue
		}
		if !has(lo, hi) {
			what := fmt.Sprintf("descriptor %d is not among the task's fds", lo)
			if lo != hi {
				what = fmt.Sprintf("none of the task's fds is from %d to %d", lo, hi)
			}
			c.bad(r.Pos, path.Entry(i), "%s", what)
		}
	}
	covers := task.Cloexec.Covers()
	for i := range task.FDs {
		if d := &task.FDs[i]; covers(d.FD) {
			d.Cloexec = true
		}
	}
}

// numbersAmong gives what reports whether the task has a descriptor from lo to hi.
func (t *Task) numbersAmong() func(lo, hi int) bool {
	all := make([]int, len(t.FDs))
	for i := range t.FDs {
		all[i] = t.FDs[i].FD
	}
	slices.Sort(all)
	return func(lo, hi int) bool {
		at, _ := slices.BinarySearch(all, lo)
		return at < len(all) && all[at] <= hi
	}
}
