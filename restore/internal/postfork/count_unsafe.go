package postfork

import (
	"syscall"
	"unsafe"

	"regrow/restore/internal/program"
)

// countDown takes one from a counter, with the kernel's help.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func countDown(h *program.Head, counter *uint32) {
	syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&h.Dummy)), futexWakeOp, 1, everybody,
		uintptr(unsafe.Pointer(counter)), opCountDown)
}

// meet waits until a count is down to value and takes one off. Whoever waits for
// another value wakes for nothing and waits again.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func meet(h *program.Head, counter *uint32, value uint64) syscall.Errno {
	for {
		v := load(counter)
		if uint64(v) <= value {
			break
		}
		if over(h) {
			return program.ReasonCanceled
		}
		syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(counter)), futexWait, uintptr(v), uintptr(unsafe.Pointer(&h.Poll)), 0, 0)
	}
	syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&h.Dummy)), futexWakeOp, 1, everybody,
		uintptr(unsafe.Pointer(counter)), opCountOff)
	return 0
}

// await waits until a counter is zero, which the last OpPass wakes it for.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func await(h *program.Head, counter *uint32) syscall.Errno {
	for {
		v := load(counter)
		if v == 0 {
			return 0
		}
		if over(h) {
			return program.ReasonCanceled
		}
		syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(counter)), futexWait, uintptr(v), uintptr(unsafe.Pointer(&h.Poll)), 0, 0)
	}
}

// leave makes the end of this process one that is planned: the kernel tells nobody
// of it, and the release does not wait for the task.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func leave(h *program.Head, begun *uint32) syscall.Errno {
	_, _, e := syscall.RawSyscall6(syscall.SYS_SET_ROBUST_LIST, 0, unsafe.Sizeof(program.Robust{}), 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	*begun = program.BegunToEnd // before it is counted: whoever waits tells from this who was killed instead
	countDown(h, &h.Left)
	return 0
}

// ready counts the task as ready and waits for the release.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func ready(h *program.Head) syscall.Errno {
	countDown(h, &h.Left)
	return waitGate(h)
}

// begin makes the task's death known: the kernel marks the words of the robust
// list. Whoever is killed before is found by what it did not note.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func begin(a *[6]uint64, begun *uint32) syscall.Errno {
	_, _, e := syscall.RawSyscall6(syscall.SYS_SET_ROBUST_LIST, uintptr(a[0]), uintptr(a[1]), 0, 0, 0, 0)
	*begun = program.Begun
	return e
}

// hold lets go of everything that is ours and waits for the end. The robust
// list points into the arena, so it goes first.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func hold(h *program.Head, holds *uint32) {
	base, size := uintptr(h.Base), uintptr(h.Size)
	*holds = 1 // before it is counted: whoever waits tells from this who was killed instead
	countDown(h, &h.Started)
	syscall.RawSyscall6(syscall.SYS_SET_ROBUST_LIST, 0, unsafe.Sizeof(program.Robust{}), 0, 0, 0, 0)
	syscall.RawSyscall6(syscall.SYS_MUNMAP, base, size, 0, 0, 0, 0)
	for {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}
