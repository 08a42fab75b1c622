package execfd

import (
	"os"

	"regrow/fdstore/internal/early"
)

// Program says what this process is to become.
type Program struct {
	// Path is the file to execute. It is not looked up in PATH.
	Path string

	// Args are its arguments, the first one is its name. Default: Path alone.
	Args []string

	// Env is its environment. Default: that of this process, os.Environ.
	Env []string

	// Files gives the open files by the number that each will have, from 0.
	// A file may come several times. Exec borrows them.
	Files map[int]*os.File
}

// Exec becomes the program and does not return, unless it cannot. Then the
// descriptors of this process are as they were.
//
// The program has the files of [Program.Files] at their numbers and, of the
// others, those that are not close-on-exec. What Go opens is close-on-exec, but for 0, 1
// and 2. Its soft RLIMIT_NOFILE is the one that this process was started with, unless
// somebody has changed it since.
//
// Each wanted number at which an anonymous file is open here (epoll, eventfd, timerfd)
// takes another number until the exec.
//
// Errors: [os.ErrClosed] or [os.ErrInvalid] for a file that is not open, an
// [os.PathError] with the errno of execve(2), or what another system call says;
// [errors.ErrUnsupported] elsewhere than on Linux.
func Exec(p Program) error { return exec(p) }

// StartLimit gives the soft and the hard RLIMIT_NOFILE that this process was started
// with: Go raises the soft one, and [Exec] puts it back. known is false where that cannot
// be read (neither Linux on amd64 nor on arm64, or a sandbox refuses it); then both are
// 1024, and Exec leaves the limit as it is.
func StartLimit() (soft, hard uint64, known bool) { return early.Files() }
