package postfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

const (
	futexWait   = 0
	futexWake   = 1
	futexWakeOp = 5

	// Operands of FUTEX_WAKE_OP, see futex(2). The kernel changes *uaddr2
	// atomically, compares the old value and wakes its waiters if it fits.
	//
	// *uaddr2 += -1, wake if it was not -1: always.
	opCountOff = 1<<28 | 1<<24 | 0xfff<<12 | 0xfff
	// *uaddr2 |= 1 << 30 (AbortBit), wake if it was not -1: always.
	opAbort = (2|8)<<28 | 1<<24 | 30<<12 | 0xfff

	// *uaddr2 = GateOpen, *uaddr2 = 1 << 30 (GateDead), wake no more than uaddr1's.
	opGateOpen = 0
	opGateKill = 8<<28 | 30<<12

	everybody = 1<<31 - 1

	pullTries = 1 << 16 // with the pauses between them some 10 minutes
	pullSpins = 4       // tries without a pause

	// For assembly, which sees the constants of its own package.
	headPrivate = program.HeadPrivate //nolint:unused // enter_*.s
	headInterp  = program.HeadInterp  //nolint:unused // enter_*.s
	privateSize = program.PrivateSize //nolint:unused // enter_*.s
)

// at gives a pointer to an address of the arena, which begins with Head: memory
// that the Go runtime knows nothing of.
//
//go:nosplit
//go:norace
//go:nocheckptr
func at(h *program.Head, addr uint64) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(h), uintptr(addr-h.Base))
}

//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func load(p *uint32) uint32 { return *p }

// fail records what went wrong in which op, raises the abort flag and ends the
// task.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func fail(h *program.Head, rec *program.Record, op *program.Op, errno int32, got int64) {
	tell(rec, op, errno, got)
	abort(h)
	exit(125)
}

// exit ends the process.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func exit(status uintptr) {
	for {
		syscall.RawSyscall6(syscall.SYS_EXIT_GROUP, status, 0, 0, 0, 0, 0)
	}
}

// tell notes in the record what went wrong, and in which op.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func tell(rec *program.Record, op *program.Op, errno int32, got int64) {
	rec.Op = uint32((uint64(uintptr(unsafe.Pointer(op))) - rec.Ops) / program.OpSize)
	rec.Got = got
	rec.Errno = errno
}

// pair makes a call that opens two descriptors and checks their numbers.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func pair(priv unsafe.Pointer, op *program.Op, a *[6]uint64) (int64, syscall.Errno) {
	_, _, e := syscall.RawSyscall6(uintptr(op.Nr), uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), 0, 0)
	return *(*int64)(unsafe.Add(priv, program.PrivPair)), e
}

// arguments gives the arguments of an op, in the private page and not on the
// stack: frames stay small.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func arguments(h *program.Head, priv unsafe.Pointer, op *program.Op) *[6]uint64 {
	modes := op.Modes
	for i := uintptr(0); i < 6*8; i += 8 {
		v := *(*uint64)(unsafe.Add(unsafe.Pointer(&op.Args), i))
		if m := program.Mode(modes & 15); m == program.ModeLoad {
			v = *(*uint64)(at(h, v))
		} else if m == program.ModeLoad32 {
			v = uint64(int64(*(*int32)(at(h, v))))
		} else if m == program.ModeSlot {
			v = *(*uint64)(at(h, h.Slots+8*v))
		}
		*(*uint64)(unsafe.Add(priv, program.PrivArgs+i)) = v
		modes >>= 4
	}
	return (*[6]uint64)(unsafe.Add(priv, program.PrivArgs))
}

// call makes the system call of an op: with FlagRetry again, as long as a signal
// interrupts it and the restore is not over. A task has no handlers, but a stop, a
// freezer and a file server interrupt, too.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func call(h *program.Head, op *program.Op, a *[6]uint64) (int64, syscall.Errno) {
	for {
		r, _, e := syscall.RawSyscall6(uintptr(op.Nr), uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), uintptr(a[4]), uintptr(a[5]))
		if e != syscall.EINTR || op.Flags&program.FlagRetry == 0 {
			return int64(r), e
		}
		if over(h) {
			return 0, program.ReasonCanceled
		}
	}
}

// forkFunc is code in assembly that makes a task by the system call nr. It returns
// in the parent; the child goes on in interp, on the empty stack of its own
// private page.
type forkFunc func(nr, a0, a1, a2, a3 uintptr, h *program.Head, task uint64) int64

// fork makes a child, of a task or of a bench, unless the restore is over.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func fork(h *program.Head, priv unsafe.Pointer, rec *program.Record, op *program.Op) (pid int64, e syscall.Errno) {
	if over(h) {
		return 0, program.ReasonCanceled
	}
	args := at(h, op.Args[0])
	if helps(rec) {
		args = asSibling(priv, args)
	}
	return clone(h, args, op.Flags, op.Args[1])
}

// clone makes a child as a struct clone_args says, which begins with task, see
// interp. With FlagOldClone by clone(2), which takes the same flags below 1<<32, and
// either the pidfd or the parent's copy of the tid. Its last two arguments, child_tid
// and tls, change places between architectures; tls means nothing without
// CLONE_SETTLS.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func clone(h *program.Head, args unsafe.Pointer, flags program.OpFlags, task uint64) (pid int64, e syscall.Errno) {
	if flags&program.FlagOldClone == 0 {
		pid = forkBy(unix.SYS_CLONE3, uintptr(args), program.CloneArgsSize, 0, 0, h, task)
	} else {
		a := (*program.OldClone)(args)
		pid = forkBy(syscall.SYS_CLONE, uintptr(a.Flags|a.Signal), 0, uintptr(a.PIDFD|a.Parent), uintptr(a.Child), h, task)
	}
	if pid < 0 {
		return 0, syscall.Errno(-pid)
	}
	return pid, 0
}

// forkBy calls the code at Head.Fork. A func value is a pointer to the address of
// the code. A call of assembly by its name would go through a stub that reloads g
// from thread-local memory, which the root has shed.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func forkBy(nr, a0, a1, a2, a3 uintptr, h *program.Head, task uint64) int64 {
	code := unsafe.Pointer(&h.Fork)
	return (*(*forkFunc)(unsafe.Pointer(&code)))(nr, a0, a1, a2, a3, h, task)
}

// record gives the record of a process.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func record(h *program.Head, process uint64) *program.Record {
	return (*program.Record)(at(h, h.Records+process*program.RecordSize))
}

// other does the ops that are no plain system call and no fork.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func other(h *program.Head, priv unsafe.Pointer, op *program.Op, a *[6]uint64) (int64, syscall.Errno) {
	// An if chain: a switch over this many cases becomes a jump table, which
	// position-independent builds keep in data.
	if op.Kind == program.OpPair {
		return pair(priv, op, a)
	}
	if op.Kind == program.OpShed {
		return 0, shed(h)
	}
	if op.Kind == program.OpName {
		nameArguments(h, priv, a[0], a[1])
		return 0, name(priv)
	}
	return 0, syscall.ENOSYS
}

// stage does the ops, from OpBegin on, by which a task and the runner tell each other how
// far they are, and those that are no system call.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func stage(h *program.Head, priv unsafe.Pointer, rec *program.Record, op *program.Op) syscall.Errno {
	kind, a := op.Kind, (*[6]uint64)(unsafe.Add(priv, program.PrivArgs))
	if kind == program.OpBegin {
		return begin(a, (*uint32)(at(h, a[2])))
	}
	if kind == program.OpGate {
		return waitGate(h, (*uint32)(at(h, a[0])))
	}
	if kind == program.OpMeet {
		return meet(h, (*uint32)(at(h, a[0])), a[1])
	}
	if kind == program.OpAwait {
		return await(h, (*uint32)(at(h, a[0])))
	}
	if kind == program.OpEnd {
		if helps(rec) {
			exit(uintptr(a[0]))
		}
		return 0
	}
	if kind == program.OpReap {
		return reap(h, priv, a)
	}
	if kind == program.OpStore {
		*(*uint32)(at(h, a[1])) = uint32(a[0])
		return 0
	}
	if kind == program.OpHold {
		hold(h)
	}
	return syscall.ENOSYS
}

// check compares the result of an op with what the plan demands. If they differ the task
// ends, or the first such op is noted and the task goes on. A bench keeps the result.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func check(h *program.Head, rec *program.Record, op *program.Op, got int64, e syscall.Errno) {
	reason := int32(0)
	if e != 0 && (op.Allow == 0 || e != syscall.Errno(op.Allow)) {
		reason = int32(e)
	}
	if e == 0 && op.Flags&program.FlagWant != 0 && got != op.Want {
		reason = program.ReasonUnwanted
	}
	if reason == 0 {
		if op.Flags&program.FlagKeep != 0 {
			*(*int64)(at(h, h.Base+8*uint64(op.Out))) = got
		} else if op.Out != program.NoSlot && h.Slots != 0 {
			*(*int64)(at(h, h.Slots+8*uint64(op.Out))) = got
		}
		return
	}
	if op.Flags&program.FlagNote == 0 {
		fail(h, rec, op, reason, got)
	}
	if rec.Errno == 0 {
		tell(rec, op, reason, got)
	}
}

// one does one op and gives the next.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func one(h *program.Head, priv unsafe.Pointer, rec *program.Record, op *program.Op) *program.Op {
	if op.Kind == program.OpHelp {
		return help(h, op)
	}
	a := arguments(h, priv, op)
	var got int64
	var e syscall.Errno
	if op.Kind == program.OpCall {
		got, e = call(h, op, a)
	} else if op.Kind == program.OpFork || op.Kind == program.OpChild {
		got, e = fork(h, priv, rec, op)
	} else if op.Kind == program.OpPull {
		for e = pull(h, priv, a); e == again; e = pull(h, priv, a) {
			if e = tryAgain(h, priv, a); e != 0 {
				break
			}
		}
	} else if op.Kind == program.OpTake {
		if e = arrives(h, priv, a); e == 0 {
			e = take(h, priv, a)
		}
	} else if op.Kind < program.EndSequences && op.Kind >= program.OpRefuse {
		e = sequence(h, priv, op, a)
		got = (*work)(unsafe.Add(priv, program.PrivWork)).got
	} else if op.Kind >= program.OpBegin {
		e = stage(h, priv, rec, op)
	} else {
		got, e = other(h, priv, op, a)
	}
	check(h, rec, op, got, e)
	return (*program.Op)(unsafe.Add(unsafe.Pointer(op), program.OpSize))
}

// interp runs the program of a task, from its first op on, or a helper's part of
// one. It does not return. process is the number of its record.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func interp(h *program.Head, priv unsafe.Pointer, process uint64) {
	rec := record(h, process)
	op := (*program.Op)(at(h, rec.Ops))
	for {
		op = one(h, priv, rec, op)
	}
}

// interpTraced is interp for a restore that is traced.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func interpTraced(h *program.Head, priv unsafe.Pointer, process uint64) {
	rec := record(h, process)
	op := (*program.Op)(at(h, rec.Ops))
	for {
		op.At = clock(priv)
		op = one(h, priv, rec, op)
	}
}

// clock gives CLOCK_MONOTONIC in nanoseconds, by a real call: the vdso may be gone.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func clock(priv unsafe.Pointer) int64 {
	ts := (*[2]int64)(unsafe.Add(priv, program.PrivStat))
	syscall.RawSyscall6(syscall.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(ts)), 0, 0, 0, 0)
	return ts[0]*1e9 + ts[1]
}
