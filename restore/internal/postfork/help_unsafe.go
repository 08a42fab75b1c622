package postfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// help makes a helper and gives the op behind its part, or the first of the part if
// there is no helper. The helper begins with the address of the OpHelp where a task
// begins with its number.
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
	pid, e := clone(h, at(h, op.Args[0]), op.Flags, uint64(uintptr(unsafe.Pointer(op))))
	if e != 0 {
		return (*program.Op)(next)
	}
	*(*int32)(at(h, op.Args[3])) = int32(pid)
	return (*program.Op)(unsafe.Add(next, uintptr(op.Args[2])*program.OpSize))
}

// taskOf gives the number of the task that is run, or that a helper helps.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func taskOf(h *program.Head, task uint64) uint64 {
	if task < h.Base {
		return task
	}
	return (*program.Op)(at(h, task)).Args[1]
}

// first gives the first op of a task, or of a helper's part.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func first(h *program.Head, priv unsafe.Pointer, task uint64) *program.Op {
	if task < h.Base {
		return (*program.Op)(at(h, record(h, task).Ops))
	}
	*(*uint64)(unsafe.Add(priv, program.PrivHelps)) = 1
	return (*program.Op)(at(h, task+program.OpSize))
}

// end ends a helper. A task goes on.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func end(priv unsafe.Pointer) syscall.Errno {
	if *(*uint64)(unsafe.Add(priv, program.PrivHelps)) != 0 {
		exit(0)
	}
	return 0
}

// asSibling gives a copy of a struct clone_args by which a helper makes a child of
// its own parent. Such a child ends with the signal that the helper ends with, and
// clone3 demands that none is asked for.
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

// reap waits until a helper has ended. cell has its pid, and room for its status.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func reap(h *program.Head, cell *[2]int32) syscall.Errno {
	if cell[0] == 0 {
		return 0
	}
	for {
		_, _, e := syscall.RawSyscall6(syscall.SYS_WAIT4, uintptr(cell[0]), uintptr(unsafe.Pointer(&cell[1])), 0, 0, 0, 0)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return e
		}
		break
	}
	if cell[1] == 0 {
		return 0
	}
	if over(h) {
		return program.ReasonCanceled
	}
	return program.ReasonHelper
}
