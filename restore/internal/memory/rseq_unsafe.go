package memory

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

const (
	rseqUnregister = 1  // RSEQ_FLAG_UNREGISTER
	rseqLeast      = 32 // the smallest area that rseq(2) takes
)

// hasRseq reports whether somebody, the C library, has registered restartable sequences
// for this thread (rseq(2), since Linux 4.18): the kernel then writes to the
// thread's local memory whenever it is preempted. The probe registers an area of
// its own, which the kernel refuses if there is one.
func hasRseq() bool {
	var room [2 * rseqLeast]byte
	area := (uintptr(unsafe.Pointer(&room)) + rseqLeast - 1) &^ (rseqLeast - 1)
	signature := uintptr(rseqSignature())
	_, _, e := unix.RawSyscall6(unix.SYS_RSEQ, area, rseqLeast, 0, signature, 0, 0)
	if e == 0 {
		_, _, _ = unix.RawSyscall6(unix.SYS_RSEQ, area, rseqLeast, rseqUnregister, signature, 0, 0)
		return false
	}
	return e != unix.ENOSYS
}

// rseqAt gives the registration of this thread if it is one of the GNU C library with
// its area there, and so many of its bytes in use. Nothing is changed: it is registered
// a second time, which the kernel refuses with EBUSY if it has just this one, and with
// other errors if it has another one.
func rseqAt(area uint64, used uint32) (r program.Rseq, ok bool) {
	r = program.Rseq{Area: area, Size: max(used, rseqLeast), Signature: rseqSignature()}
	_, _, e := unix.RawSyscall6(unix.SYS_RSEQ, uintptr(r.Area), uintptr(r.Size), 0, uintptr(r.Signature), 0, 0)
	if e == 0 { // there was none at all
		_, _, _ = unix.RawSyscall6(unix.SYS_RSEQ, uintptr(r.Area), uintptr(r.Size), rseqUnregister, uintptr(r.Signature), 0, 0)
	}
	return r, e == unix.EBUSY
}

// rseqSignature is RSEQ_SIG of sys/rseq.h: what stands before the code to which a
// sequence that was interrupted goes.
func rseqSignature() uint32 {
	if runtime.GOARCH == "arm64" {
		return 0xd428bc00
	}
	return 0x53053053
}
