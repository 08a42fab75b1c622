package runner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
)

// Steps of recipes that are more than one system call.

// pollFor is how long a recipe waits for what it has sent to arrive.
const pollFor = 10 * time.Second

// poll makes a call again and again, until a number in the arena is large enough.
func (r *run) poll(op *program.Op, args [6]uint64) opFailure {
	cell, least := args[4], int64(args[5])
	args[4], args[5] = 0, 0
	deadline := time.Now().Add(pollFor)
	for wait := 10 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		if _, err := r.call(op, args); err != nil {
			return opFailure{err: err}
		}
		got := int64(binary.NativeEndian.Uint64(r.arena.Bytes()[cell-r.arena.Base:]))
		switch {
		case got >= least:
			return opFailure{}
		case r.gaveUp.Load():
			return opFailure{err: plan.ErrCanceled}
		case time.Now().After(deadline):
			return opFailure{reason: fmt.Sprintf("it is %d after %v, and not %d: what was sent has not arrived", got, pollFor, least)}
		}
		time.Sleep(wait)
	}
}

// undo notes what a step has just made at a path.
func (r *run) undo(path string) error {
	var st unix.Stat_t
	if err := safepath.IgnoringEINTR(func() error { return unix.Lstat(path, &st) }); err != nil {
		return errors.Join(err, unlink(path))
	}
	return r.note(madeFile{path, st.Dev, st.Ino})
}

// unlink removes a file, or an empty folder.
func unlink(path string) error {
	err := unix.Unlink(path)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) { // a folder, on other file systems
		return unix.Rmdir(path)
	}
	return err
}
