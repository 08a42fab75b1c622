package postfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

const rseqUnregister = 1 // RSEQ_FLAG_UNREGISTER

// shed unmaps all that lies between the ranges to keep. First it unregisters the C
// library's area for restartable sequences, which is unmapped with the rest.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func shed(h *program.Head) (e syscall.Errno) {
	if r := &h.Rseq; r.Area != 0 {
		_, _, e = syscall.RawSyscall6(unix.SYS_RSEQ, uintptr(r.Area), uintptr(r.Size), rseqUnregister, uintptr(r.Signature), 0, 0)
	}
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

// name makes the memory that nameArguments has prepared the task's argument list.
// PR_SET_MM_MAP needs no privilege (since Linux 3.18), but a kernel with
// CONFIG_CHECKPOINT_RESTORE.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func name(priv unsafe.Pointer) syscall.Errno {
	_, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_MAP,
		uintptr(unsafe.Add(priv, program.PrivMMMap)), mmMapSize, 0, 0)
	if e == syscall.EINVAL {
		return 0 // a kernel without it: the task keeps its comm
	}
	return e
}

// mmMapSize is the size of struct prctl_mm_map.
const mmMapSize = 104

// nameArguments copies the task's name to the private page, because the kernel
// reads an argument list from private memory only, and describes the place.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func nameArguments(h *program.Head, priv unsafe.Pointer, addr, n uint64) {
	const argStart, argEnd, envStart, envEnd = 7, 8, 9, 10
	from := at(h, addr)
	for i := uint64(0); i <= n; i++ {
		*(*byte)(unsafe.Add(priv, program.PrivName+uintptr(i))) = *(*byte)(unsafe.Add(from, uintptr(i)))
	}
	mm := unsafe.Add(priv, program.PrivMMMap)
	for i := range uintptr(mmMapSize / 8) {
		*(*uint64)(unsafe.Add(mm, i*8)) = *(*uint64)(unsafe.Add(unsafe.Pointer(&h.MMMap), i*8))
	}
	*(*uint64)(unsafe.Add(mm, argStart*8)) = h.Private + program.PrivName
	*(*uint64)(unsafe.Add(mm, argEnd*8)) = h.Private + program.PrivName + n + 1
	*(*uint64)(unsafe.Add(mm, envStart*8)) = h.Private + program.PrivName + n + 1
	*(*uint64)(unsafe.Add(mm, envEnd*8)) = h.Private + program.PrivName + n + 1
}
