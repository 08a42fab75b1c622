package tasktree

import (
	"slices"
	"strconv"
	"strings"
)

// standardNames are what programs take for granted at descriptors 0, 1 and 2.
var standardNames = [3]string{"input", "output", "error"}

// standard warns of programs that run without some of the standard descriptors.
// What they print is lost, and the first file that they open gets one of these numbers,
// so that error messages may end up in a database.
func (c *checker) standard() {
	tables := map[*Task]standardFDs{} // of owners: many may share a long one
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
				closed = ", since exec closes what is close-on-exec"
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

// standardFDs tells which standard descriptors a table has for a program, and which
// ones exec closes.
type standardFDs struct{ open, closed [3]bool }

func standardOf(t *Task) (has standardFDs) {
	for i := range t.FDs {
		if d := &t.FDs[i]; d.FD >= 0 && d.FD < len(has.open) {
			has.open[d.FD], has.closed[d.FD] = !d.Cloexec, d.Cloexec
		}
	}
	return has
}

// lost says what is lost beside the numbers.
func lost(numbers []string) string {
	if numbers[len(numbers)-1] == "0" {
		return ""
	}
	return "what it prints there is lost, and "
}

// exampleKey gives the key that is most likely wanted: a program's output.
func exampleKey(numbers []string) string {
	if slices.Contains(numbers, "1") {
		return "stdout"
	}
	return map[string]string{"0": "stdin", "2": "stderr"}[numbers[0]]
}

// inWords gives "a", "a and b" or "a, b and c".
func inWords(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}
