package borrow

import (
	"fmt"
	"os"
	"syscall"
)

// Error says which file cannot be borrowed. Err is [os.ErrInvalid] for one that is
// nil, [os.ErrClosed] for one that is closed, or what its SyscallConn says.
type Error struct {
	Index int // from 0
	Count int // of the files
	Err   error
}

// Error counts from 1.
func (e *Error) Error() string { return fmt.Sprintf("file %d of %d: %v", e.Index+1, e.Count, e.Err) }

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// Files calls use with the descriptors of the files, in their order, and gives what it
// returns. fds may not be kept. The error is an [*Error] if use was not called.
func Files[F syscall.Conn](files []F, use func(fds []int) error) error {
	return nested(files, make([]int, 0, len(files)), use)
}

// nested borrows the files behind those in fds. RawConn.Control holds a file open for
// the length of a callback, so the callbacks are nested, one for each file.
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
		// All that Control refuses is a closed file, with an error of
		// internal/poll that nobody can match.
		return &Error{i, len(files), os.ErrClosed}
	}
	return used
}
