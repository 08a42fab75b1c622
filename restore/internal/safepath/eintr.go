package safepath

import (
	"errors"

	"golang.org/x/sys/unix"
)

// IgnoringEINTR repeats a call that a signal interrupts: calls on network and FUSE file
// systems can be interrupted, and the Go runtime sends signals to its own process. It
// is only for calls that have had no effect when they return EINTR, so not for
// close(2).
func IgnoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Fstat is fstat(2), repeated after EINTR.
func Fstat(fd int, st *unix.Stat_t) error {
	return IgnoringEINTR(func() error { return unix.Fstat(fd, st) })
}

// StatPath is stat(2), repeated after EINTR.
func StatPath(path string, st *unix.Stat_t) error {
	return IgnoringEINTR(func() error { return unix.Stat(path, st) })
}
