package postfork

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// Gate is where the tasks of a tree wait until its owner, a thread of the process
// that restores, decides what becomes of them:
//
//	        ┌──Open──▶ open   every task goes on
//	closed ─┤
//	        └──Kill──▶ dead   every task ends
//	  the owner ends ──▶ dead, by the kernel
//
// Its owner waits until every task waits there (Wait), then decides. It is a robust
// futex, see get_robust_list(2): however the owner ends, by SIGKILL
// too, the kernel marks the word and wakes a task, which wakes the others. The owner
// cannot give it back closed, see [Arena.DecideGate].
//
// Only the goroutine that decides may call its methods.
type Gate struct{ head *program.Head }

// GateState is what has become of a gate. It changes once at most.
type GateState uint8

// The states.
const (
	GateClosed GateState = iota // tasks wait
	GateOpen                    // they go on
	GateDead                    // they end
)

// State tells what has become of the gate.
func (g Gate) State() GateState {
	switch v := Load(&g.head.Gate); {
	case v == program.GateOpen:
		return GateOpen
	case v&program.GateDead != 0:
		return GateDead
	}
	return GateClosed
}

// Wait waits until every task waits at the gate, and reports true. It reports false if
// the restore was aborted before that: some have failed or died, or somebody has raised
// [program.AbortBit] in Head.Left. It decides nothing.
func (g Gate) Wait() bool {
	for left := &g.head.Left; ; {
		switch v := Load(left); {
		case v&program.AbortBit != 0:
			return false
		case v == 0:
			return true
		default:
			Wait(left, v, time.Second)
		}
	}
}

// ErrGate says that the calling thread could not become the owner of a gate. It
// comes with what the kernel answered.
var ErrGate = errors.New("own the gate")

// DecideGate closes the gate, makes the calling thread its owner and calls decide,
// which makes the tree and then opens the gate or not. However decide ends, by an
// error, a panic or [runtime.Goexit], a gate that is still closed is killed before
// the thread gives it back: tasks wait for no gate that nobody owns. The thread then
// gets its old robust list back (glibc has one in cgo builds).
//
// The error is that of decide, or wraps [ErrGate]; decide was not called then.
func (a *Arena) DecideGate(decide func(Gate) error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	giveBack, err := a.ownGate()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGate, err)
	}
	g := Gate{a.Head()}
	defer func() {
		g.Kill()
		giveBack()
	}()
	return decide(g)
}

// ownGate closes the gate and makes the calling thread its owner. giveBack gives the
// thread its old robust list back: not before the gate is decided.
func (a *Arena) ownGate() (giveBack func(), err error) {
	h := a.Head()
	var old, size uintptr
	if _, _, e := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, 0, uintptr(unsafe.Pointer(&old)), uintptr(unsafe.Pointer(&size))); e != 0 {
		return nil, os.NewSyscallError("get_robust_list", e)
	}
	list := uint64(uintptr(unsafe.Pointer(&h.OwnerList)))
	node := uint64(uintptr(unsafe.Pointer(&h.OwnerNode)))
	gate := uint64(uintptr(unsafe.Pointer(&h.Gate)))
	h.OwnerList = program.Robust{Next: node, Offset: gate - node}
	h.OwnerNode = list
	Store(&h.Gate, uint32(unix.Gettid())|program.FutexWaiters)
	if e := setRobustList(uintptr(list)); e != 0 {
		return nil, os.NewSyscallError("set_robust_list", e)
	}
	return func() { _ = setRobustList(old) }, nil
}

func setRobustList(list uintptr) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, list, unsafe.Sizeof(program.Robust{}), 0)
	return e
}

// Open lets the tasks go on. A gate that is dead stays so.
func (g Gate) Open() { g.decide(opGateOpen, program.GateOpen) }

// Kill ends every task that waits at the gate, and those that come to it later: a task
// looks at the gate before it waits. A gate that is open stays so.
func (g Gate) Kill() { g.decide(opGateKill, program.GateDead) }

// decide writes the decision to a closed gate and wakes all waiters, in one system call, so
// that this process cannot die in between.
func (g Gate) decide(op uintptr, word uint32) {
	gate := &g.head.Gate
	if g.State() != GateClosed {
		return
	}
	at := uintptr(unsafe.Pointer(gate))
	if _, _, e := unix.Syscall6(unix.SYS_FUTEX, at, futexWakeOp, everybody, 0, at, op); e != 0 {
		Store(gate, word)
		Wake(gate)
	}
}

// waitGate waits until the gate is decided, and says whether that is the end: the
// task's side of [Gate].
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func waitGate(h *program.Head, gate *uint32) syscall.Errno {
	for !over(h) {
		word := load(gate)
		if word == program.GateOpen {
			return 0
		}
		gateFutex(h, gate, futexWait, word)
	}
	// The kernel wakes one waiter when the runner dies; that one wakes the rest.
	abort(h)
	gateFutex(h, gate, futexWake, everybody)
	return program.ReasonCanceled
}

// gateFutex waits on the gate, or wakes those who do.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func gateFutex(h *program.Head, gate *uint32, what uintptr, v uint32) {
	syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(gate)), what, uintptr(v), uintptr(unsafe.Pointer(&h.Poll)), 0, 0)
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

// over reports whether the restore has failed, or the runner is gone: its death
// makes the kernel write GateDead to Gate.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func over(h *program.Head) bool {
	return load(&h.Left)&program.AbortBit != 0 || load(&h.Gate)&program.GateDead != 0
}
