package program

import "golang.org/x/sys/unix"

// Retry gives FlagRetry for calls that a signal can interrupt and that have done
// nothing then. Without a handler, too: a stop, a freezer or a debugger is enough where
// the kernel waits for a lock or for room in a queue (setsockopt, sendmsg), or a network
// or FUSE server lets a call be interrupted (the others).
//
// A call that is not here answers no EINTR, or must not be made again: dup3 for one has
// freed the number by then, as close has.
func Retry(nr uint32) OpFlags {
	switch nr {
	case unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_CHDIR, unix.SYS_EXECVE, unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_SENDMSG, unix.SYS_SETSOCKOPT:
		return FlagRetry
	}
	return 0
}
