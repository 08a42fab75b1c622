package safepath

import (
	"errors"

	"golang.org/x/sys/unix"
)

// IgnoringEINTR makes a call again as long as a signal interrupts it: network and FUSE
// file systems let every call on a path be interrupted, and the Go runtime sends this
// process signals. It is for calls that have done nothing then, so not for close(2).
func IgnoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Fstat looks at an open file.
func Fstat(fd int, st *unix.Stat_t) error {
	return IgnoringEINTR(func() error { return unix.Fstat(fd, st) })
}

// StatPath looks at what a path leads to.
func StatPath(path string, st *unix.Stat_t) error {
	return IgnoringEINTR(func() error { return unix.Stat(path, st) })
}
