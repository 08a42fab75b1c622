package live

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"regrow/tasktree"
)

// Level is how much is compared.
type Level string

// The levels, each with what those before it have.
const (
	// Auto is Exact for tasks that hold and for open files that only such tasks
	// have, and State for what programs have: they may change it.
	Auto Level = ""

	// Shape: tasks and their parents, which numbers are open, which of them are
	// one open file, kinds and ends, close-on-exec.
	Shape Level = "shape"

	// State: flags, paths, capacities, current folders, pids, namespaces, shared
	// tables, too.
	State Level = "state"

	// Exact: offsets, contents, arguments and environments, and that programs have
	// opened and started nothing.
	Exact Level = "exact"
)

// Levels lists the words for levels, but for Auto.
var Levels = []Level{Shape, State, Exact}

// Verdict says how a live tree differs from its description.
type Verdict struct {
	Level    Level
	Programs int // tasks of the description that run programs

	// Differences are sorted by position.
	Differences []Finding

	// Unseen is what was to be compared and is not visible: neither right nor wrong.
	Unseen []Finding

	// More counts what programs have opened and started by themselves, which is no
	// difference at the levels Auto and State.
	More struct{ FDs, Tasks int }
}

// Hidden counts what is not visible to this user, and may be to another one.
func (v *Verdict) Hidden() (n int) {
	for _, f := range v.Unseen {
		if !f.Always {
			n++
		}
	}
	return n
}

// Finding is one difference, or one thing that is not visible.
type Finding struct {
	Pos       tasktree.Pos // of what is described, or of the nearest thing
	Task      string       // described name; "" for what is about the tree
	PID       int          // of the process, in the caller's pid namespace; 0: there is none
	FD        int          // -1: it is about no descriptor
	File      string       // described name of the open file, with its end; "" for none
	Key       string       // "flags", "cwd"; "" for the whole
	Described string       // what the description says
	Real      string       // what there is
	Why       string       // why it is not visible, "" for a difference
	Always    bool         // nobody can see it, with whatever rights
}

// String says it in one line, without the position.
func (f Finding) String() string {
	var parts []string
	if f.Task != "" {
		task := fmt.Sprintf("task %q", f.Task)
		if f.PID > 0 {
			task += fmt.Sprintf(" (pid %d)", f.PID)
		}
		parts = append(parts, task)
	}
	if f.FD >= 0 {
		parts = append(parts, fmt.Sprintf("fd %d", f.FD))
	}
	if f.File != "" {
		parts = append(parts, fmt.Sprintf("file %q", f.File))
	}
	if f.Key != "" {
		parts = append(parts, f.Key)
	}
	if f.Why != "" {
		return strings.Join(append(parts, "not visible: "+f.Why), ": ")
	}
	return strings.Join(append(parts, "described "+f.Described+", real "+f.Real), ": ")
}

func sortFindings(all []Finding) []Finding {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(a.Pos.Compare(b.Pos), cmp.Compare(a.PID, b.PID), cmp.Compare(a.FD, b.FD))
	})
	return slices.Compact(all)
}
