package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"regrow/restore/internal/safepath"
	"regrow/tasktree"
)

// HostError lists what the description needs and the kernel or the caller's privileges lack.
// Nothing was started.
type HostError struct {
	Source string // name of the description, as messages show it
	Lacks  []Lack // sorted by position, at least one
}

// Lack is something that a line of the description needs and this host lacks.
type Lack struct {
	Pos tasktree.Pos // of the line that needs it
	Msg string       // what needs it, why it is missing, and the remedy
	Err error        // the kernel's answer; may be nil

	Cause error `json:"-"` // a cause that Msg already describes; may be nil
}

// Error returns one line for each lack, "SOURCE:LINE:COL: host: MESSAGE".
func (e *HostError) Error() string {
	lines := make([]string, len(e.Lacks))
	for i, l := range e.Lacks {
		lines[i] = tasktree.At(e.Source, l.Pos) + ": host: " + l.Msg
		if l.Err != nil {
			lines[i] += ": " + l.Err.Error()
		}
	}
	return strings.Join(lines, "\n")
}

// JoinLacks joins the errors of CheckHost and CheckPaths. It returns a [*HostError] with the
// lacks of both, nil if both are nil, or both errors joined if one is of another type.
func JoinLacks(a, b error) error {
	x, aOK := errors.AsType[*HostError](a)
	y, bOK := errors.AsType[*HostError](b)
	if !aOK || !bOK {
		return errors.Join(a, b)
	}
	all := slices.Concat(x.Lacks, y.Lacks)
	SortLacks(all)
	return &HostError{x.Source, all}
}

// Unwrap returns the errors of all lacks.
func (e *HostError) Unwrap() []error {
	var reasons []error
	for _, l := range e.Lacks {
		for _, err := range []error{l.Err, l.Cause} {
			if err != nil {
				reasons = append(reasons, err)
			}
		}
	}
	return reasons
}

// OpError reports the failed step of a restore: the task, the descriptor, the call and the
// reason. The tree has been ended and nothing of it is left.
type OpError struct {
	Source string
	Pos    tasktree.Pos
	Task   string // "" if the runner failed, and not on behalf of one task
	PID    int    // of the task, in the tree's pid namespace; 0 if it had none yet
	What   string // purpose of the step: `install fd 5 from file "log"`
	Call   string // "dup3", `openat "/tmp/x"`
	Reason string // in addition to Err, "" if none
	Err    error  // the errno; may be nil

	AboutPath bool `json:"-"` // the step uses a path, a folder or a program
}

// Error returns the whole message, outermost context first.
func (e *OpError) Error() string {
	parts := []string{tasktree.At(e.Source, e.Pos), "restore"}
	if e.Task != "" {
		who := fmt.Sprintf("task %q", e.Task)
		if e.PID > 0 {
			who += fmt.Sprintf(" (pid %d)", e.PID)
		}
		parts = append(parts, who)
	}
	for _, part := range []string{e.What, e.Call} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	switch {
	case e.Err == nil:
		parts = append(parts, e.Reason)
	case e.Reason == "":
		parts = append(parts, e.Err.Error())
	default:
		parts = append(parts, e.Err.Error()+" ("+e.Reason+")")
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the errno.
func (e *OpError) Unwrap() error { return e.Err }

// ErrAnotherProcess reports that a path of the description would mean another file, folder or
// program in each process that opens it: it leads through a magic link of procfs, to a
// process's own entry there, or to the controlling terminal.
var ErrAnotherProcess = safepath.ErrAnother

// Errors that do not belong to one step.
var (
	// ErrTimeout reports that the tree was not released in time.
	ErrTimeout = errors.New("timed out before release")
	// ErrCanceled reports that the context ended before release.
	ErrCanceled = errors.New("canceled before release")
	// ErrTaskDied reports that a task, or a fork helper, was killed from outside before
	// release.
	ErrTaskDied = errors.New("died before release")
)

// SortLacks sorts by position, then by message.
func SortLacks(lacks []Lack) {
	slices.SortStableFunc(lacks, func(a, b Lack) int { return cmp.Or(a.Pos.Compare(b.Pos), cmp.Compare(a.Msg, b.Msg)) })
}
