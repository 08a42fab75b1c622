package execfd

import (
	"os"

	"regrow/fdstore/internal/early"
)

// Program is the program that replaces this process.
type Program struct {
	// Path is the file to execute. It is not looked up in PATH.
	Path string

	// Args are its arguments, beginning with its name. Default: Path alone.
	Args []string

	// Env is its environment. Default: that of this process, os.Environ.
	Env []string

	// Files are its open files, by descriptor number, from 0. A file may have several
	// numbers. Exec borrows the files.
	Files map[int]*os.File
}

// Exec replaces this process by the program. It returns only with an error; then the
// descriptors of this process are unchanged.
//
// The program has the files of [Program.Files] at their numbers, and the other
// descriptors that are not close-on-exec. Files that Go opens are close-on-exec, except
// 0, 1 and 2. The program's soft RLIMIT_NOFILE is the one with which this process was
// started, unless it was changed since.
//
// If an anonymous file of this process (epoll, eventfd, timerfd) is at a number of the
// program's files, Exec needs another free number for it.
//
// Errors: [os.ErrClosed] or [os.ErrInvalid] for a file that is not open; an
// [os.PathError] with the errno of execve(2); the error of another system call;
// [errors.ErrUnsupported] on systems other than Linux.
func Exec(p Program) error { return exec(p) }

// StartLimit returns the soft and the hard RLIMIT_NOFILE with which this process was
// started: Go raises the soft limit, and [Exec] restores it. known is false if they cannot
// be read (neither Linux on amd64 nor on arm64, or a sandbox refuses the call); then both
// are 1024, and Exec does not change the limit.
func StartLimit() (soft, hard uint64, known bool) { return early.Files() }
