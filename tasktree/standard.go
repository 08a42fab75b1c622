package tasktree

import (
	"slices"
	"strconv"
	"strings"
)

// standardNames are what programs take for granted at descriptors 0, 1 and 2.
var standardNames = [3]string{"input", "output", "error"}

// standard warns of programs that run without some of the standard descriptors.
// What they print is lost, and the first file that they open gets such a number,
// so that error messages may end up in a database.
func (c *checker) standard() {
	for _, t := range c.tree.tasks {
		if t.Holds() || c.warnings.full() {
			continue
		}
		var numbers, names []string
		for n, open := range standardOpen(t) {
			if !open {
				numbers, names = append(numbers, strconv.Itoa(n)), append(names, standardNames[n])
			}
		}
		if len(numbers) == 0 {
			continue
		}
		plural := ""
		if len(numbers) > 1 {
			plural = "s"
		}
		c.warn(t.RunPos, c.paths[t.Index].Sub("run"), "the program of task %q runs without descriptor%s %s (standard %s)%s: %sthe next file that it opens gets such a number. "+
			"Define an open file, such as {type: inherit, key: %s} or {type: reg, path: /dev/null, flags: [O_RDWR]}, and name it under fds",
			t.Name, plural, inWords(numbers), inWords(names), closedOnExec(t), lost(numbers), exampleKey(numbers))
	}
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

// standardOpen tells which of the standard descriptors a program has: exec closes
// those that are close-on-exec.
func standardOpen(t *Task) (open [3]bool) {
	for i := range t.Table().FDs {
		if d := &t.Table().FDs[i]; d.FD >= 0 && d.FD < len(open) && !d.Cloexec {
			open[d.FD] = true
		}
	}
	return open
}

// closedOnExec says so if that is why one is missing.
func closedOnExec(t *Task) string {
	for i := range t.Table().FDs {
		if d := &t.Table().FDs[i]; d.FD >= 0 && d.FD < len(standardNames) && d.Cloexec {
			return ", since exec closes what is close-on-exec"
		}
	}
	return ""
}

// inWords gives "a", "a and b" or "a, b and c".
func inWords(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}
