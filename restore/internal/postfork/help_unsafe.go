package postfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// help forks a helper and gives the op after the helper's part, or the first op of that
// part if no helper could be forked. A helper starts as a task does, with the number of its
// record, where its first op is.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func help(h *program.Head, op *program.Op) *program.Op {
	next := unsafe.Add(unsafe.Pointer(op), program.OpSize)
	if over(h) {
		return (*program.Op)(next) // a fork, which says so
	}
	if _, e := clone(h, at(h, op.Args[0]), op.Flags, op.Args[1]); e != 0 {
		return (*program.Op)(next)
	}
	return (*program.Op)(unsafe.Add(next, uintptr(op.Args[2])*program.OpSize))
}

// helps reports whether a process is a helper, or a child of a bench.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func helps(rec *program.Record) bool { return load(&rec.Begun) == program.BegunHelper }

// asSibling gives a copy of a struct clone_args by which a helper makes a child of its own
// parent. The exit signal of such a child is the helper's, and clone3 refuses any other.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func asSibling(priv, args unsafe.Pointer) unsafe.Pointer {
	const signal = 4 * 8
	sibling := unsafe.Add(priv, program.PrivCmsg)
	for i := uintptr(0); i < program.CloneArgsSize; i += 8 {
		*(*uint64)(unsafe.Add(sibling, i)) = *(*uint64)(unsafe.Add(args, i))
	}
	*(*uint64)(sibling) |= unix.CLONE_PARENT
	*(*uint64)(unsafe.Add(sibling, signal)) = 0
	return sibling
}

// reap waits for the end of the helper or child whose pid is at an address (0: there is
// none), and demands its exit status.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func reap(h *program.Head, priv unsafe.Pointer, a *[6]uint64) syscall.Errno {
	pid := *(*int32)(at(h, a[0]))
	if pid == 0 {
		return 0
	}
	status := (*int32)(unsafe.Add(priv, program.PrivStat))
	for {
		_, _, e := syscall.RawSyscall6(syscall.SYS_WAIT4, uintptr(pid), uintptr(unsafe.Pointer(status)), 0, 0, 0, 0)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return e
		}
		break
	}
	if a[2] != 0 {
		*(*int32)(at(h, a[2])) = *status | program.Reaped
	}
	if *status == int32(a[1]) {
		return 0
	}
	if over(h) {
		return program.ReasonCanceled
	}
	return program.ReasonHelper
}
