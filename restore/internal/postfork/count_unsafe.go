package postfork

import (
	"syscall"
	"unsafe"

	"regrow/restore/internal/program"
)

// meet waits until a count has come down to value, then takes one off. Tasks that wait for
// another value are woken in vain and wait again.
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

// await waits until a counter is zero. The last call that counts it down wakes it.
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

// begin registers the robust list, so that the kernel marks its words when the task dies. A
// task that is killed earlier is found by the note it did not make.
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
func hold(h *program.Head) {
	base, size := uintptr(h.Base), uintptr(h.Size)
	syscall.RawSyscall6(syscall.SYS_SET_ROBUST_LIST, 0, unsafe.Sizeof(program.Robust{}), 0, 0, 0, 0)
	syscall.RawSyscall6(syscall.SYS_MUNMAP, base, size, 0, 0, 0, 0)
	for {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}
