package e2e

import (
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// inject makes a held task execute a system call, and returns the result. The call in
// which the task waits is restarted afterwards.
func inject(t testing.TB, pid int, nr uintptr, args ...uint64) int64 {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	result, err := injected(pid, uint64(nr), append(args, 0, 0, 0, 0, 0, 0))
	if err != nil {
		t.Fatalf("call %d of task %d: %v", nr, pid, err)
	}
	return result
}

// injected must run in a locked thread. It detaches from the task in any case.
func injected(pid int, nr uint64, args []uint64) (result int64, err error) {
	if err := unix.PtraceSeize(pid); err != nil {
		return 0, fmt.Errorf("PTRACE_SEIZE: %w", err)
	}
	defer func() {
		if e := unix.PtraceDetach(pid); e != nil && err == nil {
			err = fmt.Errorf("PTRACE_DETACH: %w", e)
		}
	}()
	if err := unix.PtraceInterrupt(pid); err != nil {
		return 0, fmt.Errorf("PTRACE_INTERRUPT: %w", err)
	}
	if err := tracedStop(pid); err != nil {
		return 0, err
	}
	var was, regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &was); err != nil {
		return 0, fmt.Errorf("PTRACE_GETREGS: %w", err)
	}
	regs = was
	// The syscall instruction of the call in which the task waits, or will wait again.
	var code [2]byte
	if _, err := unix.PtracePeekText(pid, uintptr(regs.Rip), code[:]); err != nil {
		return 0, fmt.Errorf("PTRACE_PEEKTEXT: %w", err)
	}
	if syscall := [2]byte{0x0f, 0x05}; code != syscall {
		regs.Rip -= 2
		if _, err := unix.PtracePeekText(pid, uintptr(regs.Rip), code[:]); err != nil {
			return 0, fmt.Errorf("PTRACE_PEEKTEXT: %w", err)
		}
		if code != syscall {
			return 0, fmt.Errorf("it does not wait in a system call: % x", code)
		}
	}
	regs.Orig_rax = ^uint64(0)
	regs.Rax, regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9 = nr, args[0], args[1], args[2], args[3], args[4], args[5]
	if err := unix.PtraceSetRegs(pid, &regs); err != nil {
		return 0, fmt.Errorf("PTRACE_SETREGS: %w", err)
	}
	if err := unix.PtraceSingleStep(pid); err != nil {
		return 0, fmt.Errorf("PTRACE_SINGLESTEP: %w", err)
	}
	if err := tracedStop(pid); err != nil {
		return 0, err
	}
	if err := unix.PtraceGetRegs(pid, &regs); err != nil {
		return 0, fmt.Errorf("PTRACE_GETREGS: %w", err)
	}
	if err := unix.PtraceSetRegs(pid, &was); err != nil {
		return 0, fmt.Errorf("PTRACE_SETREGS: %w", err)
	}
	return int64(regs.Rax), nil
}

func tracedStop(pid int) error {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("wait4: %w", err)
		case !status.Stopped():
			return fmt.Errorf("it has ended: %#x", uint32(status))
		default:
			return nil
		}
	}
}

const canInject = true
