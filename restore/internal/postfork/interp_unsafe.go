package postfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
	"regrow/tasktree"
)

const (
	futexWait   = 0
	futexWake   = 1
	futexWakeOp = 5

	// Operands of FUTEX_WAKE_OP, see futex(2). The kernel changes *uaddr2
	// atomically, compares the old value and wakes its waiters if it fits.
	//
	// *uaddr2 += -1, wake if it was 1
	opCountDown = 1<<28 | 0<<24 | 0xfff<<12 | 1
	// *uaddr2 |= 1 << 30 (AbortBit), wake if it was not -1: always
	opAbort = (2|8)<<28 | 1<<24 | 30<<12 | 0xfff

	everybody = 1<<31 - 1

	pullTries = 1 << 20 // a try costs about a microsecond; contention needs a handful
)

// at gives a pointer to an address of the arena or the private page: memory
// that the Go runtime knows nothing of.
//
//go:nosplit
//go:norace
//go:nocheckptr
func at(base unsafe.Pointer, from, addr uint64) unsafe.Pointer {
	return unsafe.Add(base, uintptr(addr-from))
}

//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func load(p *uint32) uint32 { return *p }

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

// abort tells everybody that the restore has failed.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func abort(h *program.Head) {
	syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&h.Dummy)), futexWakeOp, 1, everybody,
		uintptr(unsafe.Pointer(&h.Left)), opAbort&(1<<32-1))
	syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&h.Dummy)), futexWakeOp, 1, everybody,
		uintptr(unsafe.Pointer(&h.Started)), opAbort&(1<<32-1))
}

// fail records what went wrong in which op, raises the abort flag and ends the
// task.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func fail(h *program.Head, rec *program.Record, op *program.Op, errno int32, got int64) {
	rec.Op = uint32((uint64(uintptr(unsafe.Pointer(op))) - rec.Ops) / program.OpSize)
	rec.Got = got
	rec.Errno = errno
	abort(h)
	for {
		syscall.RawSyscall6(syscall.SYS_EXIT_GROUP, 125, 0, 0, 0, 0, 0)
	}
}

// over reports whether the restore has failed, or the runner is gone: its death
// makes the kernel write FutexDead to Gate.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func over(h *program.Head) bool {
	return load(&h.Left)&program.AbortBit != 0 || load(&h.Gate)&program.FutexDead != 0
}

// ready counts the task as ready and waits for the release.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func ready(h *program.Head) bool {
	countDown(h, &h.Left)
	for !over(h) {
		gate := load(&h.Gate)
		if gate == program.GateOpen {
			return true
		}
		syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&h.Gate)), futexWait, uintptr(gate),
			uintptr(unsafe.Pointer(&h.Poll)), 0, 0)
	}
	// The kernel wakes one waiter when the runner dies; that one wakes the rest.
	abort(h)
	syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&h.Gate)), futexWake, everybody, 0, 0, 0)
	return false
}

// shed unmaps all that lies between the ranges to keep.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func shed(h *program.Head) (e syscall.Errno) {
	from := uint64(0)
	for i := uintptr(0); i < uintptr(h.NKeep) && e == 0; i++ {
		k := (*program.Range)(unsafe.Add(unsafe.Pointer(&h.Keep), i*unsafe.Sizeof(program.Range{})))
		if k.Lo > from {
			_, _, e = syscall.RawSyscall6(syscall.SYS_MUNMAP, uintptr(from), uintptr(k.Lo-from), 0, 0, 0, 0)
		}
		from = k.Hi
	}
	return e
}

// name copies the task's name to the private page and makes that the argument
// list: the kernel reads it from private memory only. PR_SET_MM_MAP needs no
// privilege (since Linux 3.18), but a kernel with CONFIG_CHECKPOINT_RESTORE.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func name(h *program.Head, base, priv unsafe.Pointer, addr, n uint64) syscall.Errno {
	const argStart, argEnd, envStart, envEnd, words, size = 7, 8, 9, 10, 13, 104
	from := at(base, h.Base, addr)
	for i := uint64(0); i <= n; i++ {
		*(*byte)(unsafe.Add(priv, program.PrivName+uintptr(i))) = *(*byte)(unsafe.Add(from, uintptr(i)))
	}
	mm := unsafe.Add(priv, program.PrivMMMap)
	for i := uintptr(0); i < words; i++ {
		*(*uint64)(unsafe.Add(mm, i*8)) = *(*uint64)(unsafe.Add(unsafe.Pointer(&h.MMMap), i*8))
	}
	*(*uint64)(unsafe.Add(mm, argStart*8)) = h.Private + program.PrivName
	*(*uint64)(unsafe.Add(mm, argEnd*8)) = h.Private + program.PrivName + n + 1
	*(*uint64)(unsafe.Add(mm, envStart*8)) = h.Private + program.PrivName + n + 1
	*(*uint64)(unsafe.Add(mm, envEnd*8)) = h.Private + program.PrivName + n + 1
	_, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_MAP, uintptr(mm), size, 0, 0)
	if e == syscall.EINVAL {
		return 0 // a kernel without it: the task keeps its comm
	}
	return e
}

// refuse looks at the type of an open file.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func refuse(priv unsafe.Pointer, fd, types uint64) syscall.Errno {
	stat := (*syscall.Stat_t)(unsafe.Add(priv, program.PrivStat))
	if _, _, e := syscall.RawSyscall6(syscall.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(stat)), 0, 0, 0, 0); e != 0 {
		return e
	}
	switch kind := stat.Mode & syscall.S_IFMT; {
	case kind == syscall.S_IFIFO && types&uint64(tasktree.TypeFIFO) != 0:
		return program.ReasonFIFO
	case kind == syscall.S_IFSOCK && types&uint64(tasktree.TypeSocket) != 0:
		return program.ReasonSocket
	}
	return 0
}

// pair makes a call that gives two descriptors and looks where they landed.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func pair(priv unsafe.Pointer, op *program.Op, a *[6]uint64) (int64, syscall.Errno) {
	_, _, e := syscall.RawSyscall6(uintptr(op.Nr), uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), 0, 0)
	return *(*int64)(unsafe.Add(priv, program.PrivPair)), e
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
	countDown(h, &h.Started)
	syscall.RawSyscall6(syscall.SYS_SET_ROBUST_LIST, 0, unsafe.Sizeof(program.Robust{}), 0, 0, 0, 0)
	syscall.RawSyscall6(syscall.SYS_MUNMAP, base, size, 0, 0, 0, 0)
	for {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// interp runs the program of a task, and after each fork in the child the
// child's program. It does not return.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func interp(base, priv unsafe.Pointer, task uint64) {
	h := (*program.Head)(base)
	rec := (*program.Record)(at(base, h.Base, h.Records+task*program.RecordSize))
	op := (*program.Op)(at(base, h.Base, rec.Ops))
	a := (*[6]uint64)(unsafe.Add(priv, program.PrivArgs)) // not on the stack: frames stay small
	for {
		modes := op.Modes
		for i := uintptr(0); i < 6; i++ {
			v := *(*uint64)(unsafe.Add(unsafe.Pointer(&op.Args), i*8))
			if program.Mode(modes&15) == program.ModeLoad {
				v = *(*uint64)(at(base, h.Base, v))
			}
			*(*uint64)(unsafe.Add(unsafe.Pointer(a), i*8)) = v
			modes >>= 4
		}
		var r uintptr
		var got int64
		var e syscall.Errno
		// An if chain: a switch over this many cases becomes a jump table.
		if op.Kind == program.OpCall {
			r, _, e = syscall.RawSyscall6(uintptr(op.Nr), uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), uintptr(a[4]), uintptr(a[5]))
			got = int64(r)
		} else if op.Kind == program.OpPull {
			e = pull(h, base, priv, a)
		} else if op.Kind == program.OpFork {
			if over(h) {
				fail(h, rec, op, program.ReasonCanceled, 0)
			}
			r, _, e = syscall.RawSyscall6(unix.SYS_CLONE3, uintptr(a[0]), program.CloneArgsSize, 0, 0, 0, 0)
			if e == 0 {
				child := (*program.Record)(at(base, h.Base, h.Records+a[1]*program.RecordSize))
				if r == 0 {
					rec = child
					op = (*program.Op)(at(base, h.Base, rec.Ops))
					continue
				}
				child.PID = int32(r)
			}
			got = int64(r)
		} else if op.Kind == program.OpPair {
			got, e = pair(priv, op, a)
		} else if op.Kind == program.OpRefuse {
			e = refuse(priv, a[0], a[1])
		} else if op.Kind == program.OpShed {
			e = shed(h)
		} else if op.Kind == program.OpName {
			e = name(h, base, priv, a[0], a[1])
		} else if op.Kind == program.OpReady {
			if !ready(h) {
				fail(h, rec, op, program.ReasonCanceled, 0)
			}
		} else if op.Kind == program.OpHold {
			hold(h)
		} else {
			e = syscall.ENOSYS
		}
		if e != 0 && (op.Allow == 0 || e != syscall.Errno(op.Allow)) {
			fail(h, rec, op, int32(e), got)
		}
		if e == 0 && op.Flags&program.FlagWant != 0 && got != op.Want {
			fail(h, rec, op, program.ReasonUnwanted, got)
		}
		op = (*program.Op)(unsafe.Add(unsafe.Pointer(op), program.OpSize))
	}
}
