package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
)

// RefusedError reports that a valid description cannot be restored under the limits of this
// host. Nothing was started.
type RefusedError struct {
	Source string
	Pos    tasktree.Pos
	Msg    string
}

// Error returns "SOURCE:LINE:COL: restore: MESSAGE".
func (e *RefusedError) Error() string {
	return tasktree.At(e.Source, e.Pos) + ": restore: " + e.Msg
}

// ProgramError reports that the program of a task is not there or cannot be executed. The
// restore finds that before release, or from the exec itself.
type ProgramError struct{ *OpError }

// NotFound reports whether the program, or its interpreter, is not there.
func (e *ProgramError) NotFound() bool { return errors.Is(e.Err, unix.ENOENT) }

// Error returns the whole message. It ends with the kernel's text for the errno of execve(2).
func (e *ProgramError) Error() string {
	if e.Err == nil || e.Reason == "" || errors.Is(e.Err, ErrAnotherProcess) {
		return e.OpError.Error()
	}
	reasoned := *e.OpError
	reasoned.Call, reasoned.Reason = strings.TrimPrefix(e.Call+": "+e.Reason, ": "), ""
	return reasoned.Error()
}

// Unwrap returns the [*OpError].
func (e *ProgramError) Unwrap() error { return e.OpError }

// ErrSpecial reports that a program is a device, a FIFO or a socket. No permission helps.
var ErrSpecial = errors.New(NoRegular)

// NoRegular is the message for a device, a FIFO or a socket in place of a program.
const NoRegular = "not a regular file"

// PathsError lists all paths and programs of a description that cannot be used: each error is
// an [*OpError] about a path or a [*ProgramError]. Nothing of the tree is left.
type PathsError struct {
	Errs []error // sorted by position, at least one
}

// Error returns one line for each error.
func (e *PathsError) Error() string {
	lines := make([]string, len(e.Errs))
	for i, err := range e.Errs {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns all errors.
func (e *PathsError) Unwrap() []error { return e.Errs }

// Programs reports whether an error is only about programs, and whether one of them is not
// there.
func Programs(err error) (all, notFound bool) {
	if paths, ok := errors.AsType[*PathsError](err); ok {
		all = true
		for _, err := range paths.Errs {
			one, missing := Programs(err)
			all, notFound = all && one, notFound || missing
		}
		return all, all && notFound
	}
	program, ok := errors.AsType[*ProgramError](err)
	return ok, ok && program.NotFound()
}

// JoinPaths joins errors about paths and programs: nil if there are none, the error itself if
// there is one, else a [*PathsError].
func JoinPaths(errs []error) error {
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	slices.SortStableFunc(errs, func(a, b error) int { return PosOf(a).Compare(PosOf(b)) })
	return &PathsError{errs}
}

// PosOf returns the position of an [*OpError].
func PosOf(err error) tasktree.Pos {
	op, _ := errors.AsType[*OpError](err)
	if op == nil {
		return tasktree.Pos{}
	}
	return op.Pos
}

// TooHigh returns the message for a descriptor beyond the limit.
func TooHigh(task *tasktree.Task, d *tasktree.Descriptor, hard uint64) string {
	return fmt.Sprintf("task %q: fd %d: the hard RLIMIT_NOFILE is %d, so the highest number is %d (raise it with ulimit -Hn, which needs CAP_SYS_RESOURCE)",
		task.Name, d.FD, hard, hard-1)
}
