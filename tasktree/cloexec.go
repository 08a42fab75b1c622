package tasktree

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Cloexec lists the descriptors of a task that are close-on-exec, which in real
// programs are most of them.
type Cloexec struct {
	All    Text   // if said, all descriptors; its Value is "all"
	Ranges []Text // "3", "7-10"
}

// Said reports whether the description has the list.
func (c *Cloexec) Said() bool { return c.All.Said() || len(c.Ranges) > 0 }

// pos returns the position of the list's first entry.
func (c *Cloexec) pos() Pos {
	if c.All.Said() || len(c.Ranges) == 0 {
		return c.All.Pos
	}
	return c.Ranges[0].Pos
}

// Range returns the first and the last number of entry i of Ranges. ok is false if the
// entry is neither a number nor a range.
func (c *Cloexec) Range(i int) (lo, hi int, ok bool) { return numbers(c.Ranges[i].Value) }

// Covers returns a function that reports whether the list contains a number.
func (c *Cloexec) Covers() func(fd int) bool {
	where := c.Where()
	return func(fd int) bool {
		_, covered := where(fd)
		return covered
	}
}

// Where returns a function that reports whether the list contains a number, and the
// position of an entry that does. The function is a binary search, because there may be
// as many ranges as descriptors.
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
		if before := spans[i-1]; before.hi > spans[i].hi { // the largest end so far
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

// numbers parses "3" or "7-10", in plain decimal digits.
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

// cloexec checks the list and marks the descriptors that it contains.
func (c *checker) cloexec(task *Task, path *KeyPath) {
	if !task.Cloexec.Said() || task.SharesFiles.Said() { // see shareRule
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
			what := fmt.Sprintf("the task has no descriptor %d", lo)
			if lo != hi {
				what = fmt.Sprintf("the task has no descriptor from %d to %d", lo, hi)
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

// numbersAmong returns a function that reports whether the task has a descriptor from lo
// to hi.
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
