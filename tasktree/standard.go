package tasktree

import (
	"slices"
	"strconv"
	"strings"
)

// standardNames are the uses of descriptors 0, 1 and 2, which programs take for granted.
var standardNames = [3]string{"input", "output", "error"}

// standard warns of programs without some of the standard descriptors. Their output is
// lost, and the first file that they open gets one of these numbers, so error messages may
// end up in a database.
func (c *checker) standard() {
	tables := map[*Task]standardFDs{} // by owner, since many tasks may share a long table
	for _, t := range c.tree.tasks {
		if t.Holds() || c.warnings.full() {
			continue
		}
		has, known := tables[t.Table()]
		if !known {
			has = standardOf(t.Table())
			tables[t.Table()] = has
		}
		var numbers, names []string
		closed := ""
		for n := range standardNames {
			if has.open[n] {
				continue
			}
			numbers, names = append(numbers, strconv.Itoa(n)), append(names, standardNames[n])
			if has.closed[n] {
				closed = ", because exec closes close-on-exec descriptors"
			}
		}
		if len(numbers) == 0 {
			continue
		}
		plural, taken := "", "that number"
		if len(numbers) > 1 {
			plural, taken = "s", "one of these numbers"
		}
		c.warn(t.RunPos, c.paths[t.Index].Sub("run"), "the program of task %q runs without descriptor%s %s (standard %s)%s: %sthe next file that it opens gets %s. "+
			"Define an open file, such as {type: inherit, key: %s} or {type: reg, path: /dev/null, flags: [O_RDWR]}, and name it under fds",
			t.Name, plural, inWords(numbers), inWords(names), closed, lost(numbers), taken, exampleKey(numbers))
	}
}

// standardFDs are the standard descriptors of a table: those that a program keeps, and
// those that exec closes.
type standardFDs struct{ open, closed [3]bool }

func standardOf(t *Task) (has standardFDs) {
	for i := range t.FDs {
		if d := &t.FDs[i]; d.FD >= 0 && d.FD < len(has.open) {
			has.open[d.FD], has.closed[d.FD] = !d.Cloexec, d.Cloexec
		}
	}
	return has
}

// lost is the part of the message about lost output.
func lost(numbers []string) string {
	if numbers[len(numbers)-1] == "0" {
		return ""
	}
	return "its output there is lost, and "
}

// exampleKey returns the key that is most likely needed: that of a program's output.
func exampleKey(numbers []string) string {
	if slices.Contains(numbers, "1") {
		return "stdout"
	}
	return map[string]string{"0": "stdin", "2": "stderr"}[numbers[0]]
}

// inWords returns "a", "a and b" or "a, b and c".
func inWords(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}
