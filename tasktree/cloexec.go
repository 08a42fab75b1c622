package tasktree

import (
	"fmt"
	"strconv"
	"strings"
)

// Cloexec lists descriptors of a task that are close-on-exec. Most of a real
// program are.
type Cloexec struct {
	All    Text   // said: all of them; its Value is "all"
	Ranges []Text // "3", "7-10"; empty: those that say so themselves
}

// Covers reports whether a number is among them.
func (c *Cloexec) Covers(fd int) bool {
	if c.All.Said() {
		return true
	}
	for _, r := range c.Ranges {
		if lo, hi, ok := numbers(r.Value); ok && lo <= fd && fd <= hi {
			return true
		}
	}
	return false
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
	if !task.Cloexec.All.Said() && len(task.Cloexec.Ranges) == 0 {
		return
	}
	path = path.Sub("cloexec")
	for i, r := range task.Cloexec.Ranges {
		lo, hi, ok := numbers(r.Value)
		if !ok {
			c.bad(r.Pos, path.Entry(i), "%q is neither a number nor a range; write 7, or 7-10", r.Value)
			continue
		}
		if !task.has(lo, hi) {
			what := fmt.Sprintf("descriptor %d is not among the task's fds", lo)
			if lo != hi {
				what = fmt.Sprintf("none of the task's fds is from %d to %d", lo, hi)
			}
			c.bad(r.Pos, path.Entry(i), "%s", what)
		}
	}
	for i := range task.FDs {
		if d := &task.FDs[i]; task.Cloexec.Covers(d.FD) {
			d.Cloexec = true
		}
	}
}

// has reports whether the task has a descriptor from lo to hi.
func (t *Task) has(lo, hi int) bool {
	for i := range t.FDs {
		if fd := t.FDs[i].FD; lo <= fd && fd <= hi {
			return true
		}
	}
	return false
}
