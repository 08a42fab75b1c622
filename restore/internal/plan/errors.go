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

// HostError says that the kernel, or the privileges of the caller, lack what the
// description needs. Nothing was started.
type HostError struct {
	Source string // name of the description, as messages show it
	Lacks  []Lack // sorted by position, at least one
}

// Lack is one thing that a line of the description needs and this host lacks.
type Lack struct {
	Pos tasktree.Pos // that needs it
	Msg string       // for what it is needed, why it is not there, and the way around
	Err error        // what the kernel answered; may be nil

	Cause error `json:"-"` // of which Msg has the words
}

// Error gives one line for each lack, "SOURCE:LINE:COL: host: MESSAGE".
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

// JoinLacks gives one error for all that two errors of CheckHost and CheckPaths say:
// a [*HostError], nil if there is nothing, or both joined if one is none of these.
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

// Unwrap gives the reasons.
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

// OpError says which step of a restore failed: for whom, for which descriptor,
// which call, and why. The tree has been ended and nothing of it is left.
type OpError struct {
	Source string
	Pos    tasktree.Pos
	Task   string // "" if the runner itself failed, and not for one task
	PID    int    // of the task, in the tree's pid namespace; 0 if there was none yet
	What   string // what the step was for: `install fd 5 from file "log"`
	Call   string // "dup3", `openat "/tmp/x"`
	Reason string // beyond Err, "" if none
	Err    error  // the errno; may be nil

	AboutPath bool `json:"-"` // it is about a path, a folder or a program
}

// Error gives the whole message, outermost context first.
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

// Unwrap gives the errno.
func (e *OpError) Unwrap() error { return e.Err }

// ErrAnotherProcess says that a path of the description would mean another file, folder
// or program for each process that opens it: its way goes through a magic link of
// procfs, or it is a process's own entry there, or the controlling terminal.
var ErrAnotherProcess = safepath.ErrAnother

// Errors of a start that are no fault of one step.
var (
	// ErrTimeout says that the tree was not released in time.
	ErrTimeout = errors.New("timed out before release")
	// ErrCanceled says that the context ended before release.
	ErrCanceled = errors.New("canceled before release")
	// ErrTaskDied says that a task, or a helper of one, was killed from outside
	// before release.
	ErrTaskDied = errors.New("died before release")
)

// SortLacks sorts by position.
func SortLacks(lacks []Lack) {
	slices.SortStableFunc(lacks, func(a, b Lack) int { return cmp.Or(a.Pos.Compare(b.Pos), cmp.Compare(a.Msg, b.Msg)) })
}
