package postfork

import (
	"reflect"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// enter begins a task at Head.Interp, on the stack of its private page.
func enter(h *program.Head, task uint64)

// cloneRoot makes the root task. All signals are blocked from before the clone
// until the child is released: a Go signal handler can run neither in the child
// (CLONE_CLEAR_SIGHAND, or the root's first ops, drop them) nor between the two
// calls here.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func cloneRoot(args unsafe.Pointer, oldClone bool, all, old uintptr, h *program.Head) (uintptr, syscall.Errno) {
	const setMask = 2
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, all, old, 8, 0, 0)
	r, e := clone(args, oldClone)
	if e == 0 && r == 0 {
		enter(h, 0)
	}
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, old, 0, 8, 0, 0)
	return r, e
}

// HasClone3 reports whether clone3(2) can be used: since Linux 5.3, where no
// sandbox refuses it. The call asks for nothing, which the kernel answers with
// EINVAL.
func HasClone3() bool {
	_, _, e := syscall.RawSyscall6(unix.SYS_CLONE3, 0, 0, 0, 0, 0, 0)
	return e == syscall.EINVAL
}

// MayChoosePIDs reports whether this process may make children with exact pids
// in its own pid namespace. It asks for a pid that is in use, its own: the kernel
// looks at the privilege first (kernel/pid.c, alloc_pid), so nothing is made.
// Capabilities alone do not tell, because those of the pid namespace's owner
// count. Since Linux 5.5.
func MayChoosePIDs() bool {
	pid := int32(syscall.Getpid())
	args := [program.CloneArgsSize / 8]uint64{
		4: uint64(syscall.SIGCHLD), 8: uint64(uintptr(unsafe.Pointer(&pid))), 9: 1,
	}
	_, _, e := syscall.RawSyscall6(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), program.CloneArgsSize, 0, 0, 0, 0)
	runtime.KeepAlive(&pid)
	return e == syscall.EEXIST
}

// Spawn clones the root task, which then makes all others. args is the address
// of its struct clone_args in the arena; old makes it with clone(2), see
// [program.FlagOldClone]. With trace every task notes in Op.At when it begins an op,
// at the price of a system call an op.
//
// Preconditions: the arena is mapped and filled; the calling goroutine is
// locked to its thread, which owns Head.Gate.
func (a *Arena) Spawn(args uint64, old, trace bool) (pid int, err error) {
	var all, mask uint64
	all = ^uint64(0)
	a.Head().Interp, a.Head().Fork = CodeAddress(), forkAddress()
	if trace {
		a.Head().Interp = uint64(reflect.ValueOf(interpTraced).Pointer())
	}
	syscall.ForkLock.Lock()
	r, e := cloneRoot(at(a.Head(), args), old, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&mask)), a.Head())
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(&all)
	runtime.KeepAlive(&mask)
	if e != 0 {
		return 0, e
	}
	a.Record(0).PID = int32(r)
	return int(r), nil
}
