package borrow

import (
	"fmt"
	"os"
	"syscall"
)

// Error tells which file cannot be borrowed. Err is [os.ErrInvalid] for a nil file,
// [os.ErrClosed] for a closed one, or the error of its SyscallConn.
type Error struct {
	Index int // from 0
	Count int // of the files
	Err   error
}

// Error counts from 1.
func (e *Error) Error() string { return fmt.Sprintf("file %d of %d: %v", e.Index+1, e.Count, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Files calls use with the descriptors of the files, in their order, and returns its
// error. use must not keep fds. The error is an [*Error] if use was not called.
func Files[F syscall.Conn](files []F, use func(fds []int) error) error {
	return nested(files, make([]int, 0, len(files)), use)
}

// nested borrows the files after those in fds. RawConn.Control keeps a file open during
// a callback, so the callbacks are nested, one for each file.
func nested[F syscall.Conn](files []F, fds []int, use func(fds []int) error) error {
	i := len(fds)
	if i == len(files) {
		return use(fds)
	}
	if any(files[i]) == nil {
		return &Error{i, len(files), os.ErrInvalid}
	}
	conn, err := files[i].SyscallConn()
	if err != nil {
		return &Error{i, len(files), err}
	}
	var used error
	if err := conn.Control(func(fd uintptr) { used = nested(files, append(fds, int(fd)), use) }); err != nil {
		// Control fails only for a closed file, with an error of internal/poll
		// that other packages cannot match.
		return &Error{i, len(files), os.ErrClosed}
	}
	return used
}
