package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
)

// RefusedError says that a valid description cannot be restored under the
// limits of this host. Nothing was started.
type RefusedError struct {
	Source string
	Pos    tasktree.Pos
	Msg    string
}

// Error gives "SOURCE:LINE:COL: restore: MESSAGE".
func (e *RefusedError) Error() string {
	return tasktree.At(e.Source, e.Pos) + ": restore: " + e.Msg
}

// ProgramError says that the program of a task is not there or cannot be executed:
// found out before the tree was released, or by the exec itself.
type ProgramError struct{ *OpError }

// NotFound reports whether the program, or the interpreter that it names, is not
// there.
func (e *ProgramError) NotFound() bool { return errors.Is(e.Err, unix.ENOENT) }

// Error gives the whole message. It ends with the kernel's words for the error that
// execve(2) gives.
func (e *ProgramError) Error() string {
	if e.Err == nil || e.Reason == "" || errors.Is(e.Err, ErrAnotherProcess) {
		return e.OpError.Error()
	}
	reasoned := *e.OpError
	reasoned.Call, reasoned.Reason = strings.TrimPrefix(e.Call+": "+e.Reason, ": "), ""
	return reasoned.Error()
}

// Unwrap gives the [*OpError].
func (e *ProgramError) Unwrap() error { return e.OpError }

// ErrSpecial is what a program cannot be: a device, a FIFO or a socket. No right helps.
var ErrSpecial = errors.New(NoRegular)

// NoRegular is said of a device, a FIFO or a socket in the place of a program.
const NoRegular = "not a regular file"

// PathsError has everything that a description names and that cannot be used: each
// an [*OpError] of a path or a [*ProgramError]. Nothing of the tree is left.
type PathsError struct {
	Errs []error // sorted by position, at least one
}

// Error gives one line for each.
func (e *PathsError) Error() string {
	lines := make([]string, len(e.Errs))
	for i, err := range e.Errs {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives all of them.
func (e *PathsError) Unwrap() []error { return e.Errs }

// Programs reports whether programs are all that an error is about, and whether one
// of them is not there.
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

// JoinPaths joins errors of paths and programs: nil if there are none, the one if
// there is one.
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

// PosOf gives the position that an [*OpError] is about.
func PosOf(err error) tasktree.Pos {
	op, _ := errors.AsType[*OpError](err)
	if op == nil {
		return tasktree.Pos{}
	}
	return op.Pos
}

// TooHigh says that a descriptor is past the limit.
func TooHigh(task *tasktree.Task, d *tasktree.Descriptor, hard uint64) string {
	return fmt.Sprintf("task %q: fd %d: the hard RLIMIT_NOFILE is %d, so the highest number is %d (raise it with ulimit -Hn, which needs CAP_SYS_RESOURCE)",
		task.Name, d.FD, hard, hard-1)
}
