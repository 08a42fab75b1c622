package postfork

import (
	"reflect"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// cloneFirst makes the root, or a bench. All signals are blocked from before the clone
// until the child is released: a Go signal handler can run neither in the child
// (CLONE_CLEAR_SIGHAND, or the root's first ops, drop them) nor between the two
// calls here.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func cloneFirst(h *program.Head, op *program.Op, all, old uintptr) (int64, syscall.Errno) {
	const setMask = 2
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, all, old, 8, 0, 0)
	pid, e := clone(h, at(h, op.Args[0]), op.Flags, op.Args[1])
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, old, 0, 8, 0, 0)
	return pid, e
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

// SpawnOptions say how the root task, or a bench, is made. The zero value works.
type SpawnOptions struct {
	Record   int  // the number of its record: of the root 0, or of a bench
	OldClone bool // it is made with clone(2), see [program.FlagOldClone]

	// Trace makes every task note in Op.At when it begins an op, at the price of
	// a system call an op.
	Trace bool

	// Heap is memory of this process that no task looks at. What is there is not
	// copied for the root (MADV_DONTFORK), which would only unmap it.
	Heap []program.Range
}

// Spawn clones the root task, which then makes all others, or a bench. args is the
// address of its struct clone_args in the arena.
//
// Preconditions: the arena is mapped and filled; the calling goroutine is locked to its
// thread, which owns Head.Gate for a root and stays until a bench is gone; no other
// thread of the process forks by other means than those of Go, which wait.
func (a *Arena) Spawn(args uint64, o SpawnOptions) (pid int, err error) {
	var all, mask uint64
	all = ^uint64(0)
	op := program.Op{Kind: program.OpFork, Args: [6]uint64{args, uint64(o.Record)}}
	if o.OldClone {
		op.Flags = program.FlagOldClone
	}
	h := a.Head()
	h.Interp, h.Fork = CodeAddress(), forkAddress()
	if o.Trace {
		h.Interp = uint64(reflect.ValueOf(interpTraced).Pointer())
	}
	syscall.ForkLock.Lock()
	advise(o.Heap, unix.MADV_DONTFORK)
	r, e := cloneFirst(h, &op, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&mask)))
	advise(o.Heap, unix.MADV_DOFORK)
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(&all)
	runtime.KeepAlive(&mask)
	runtime.KeepAlive(&op)
	if e != 0 {
		return 0, e
	}
	a.Record(o.Record).PID = int32(r)
	return int(r), nil
}

// advise tells the kernel about memory. What has been unmapped meanwhile is no
// matter.
func advise(ranges []program.Range, advice uintptr) {
	for _, r := range ranges {
		_, _, _ = syscall.RawSyscall(syscall.SYS_MADVISE, uintptr(r.Lo), uintptr(r.Hi-r.Lo), advice)
	}
}
