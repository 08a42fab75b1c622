package e2e

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// resetIgnoredSignals resets each signal that this process ignores to its default action. The process
// that started the tests may have ignored it: nohup ignores SIGHUP, make ignores 32 and 33
// (posix_spawn in glibc 2.36). Programs that the tests start would ignore it, too. Package
// os/signal cannot undo that.
func resetIgnoredSignals() error {
	const ignore = 1 // SIG_IGN
	for sig := uintptr(1); sig <= 64; sig++ {
		var now, usual [8]uint64 // struct sigaction begins with the handler; SIG_DFL is 0
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&now)), 8, 0, 0); errno != 0 {
			return os.NewSyscallError("rt_sigaction", errno)
		}
		if now[0] != ignore {
			continue
		}
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&usual)), 0, 8, 0, 0); errno != 0 {
			return os.NewSyscallError("rt_sigaction", errno)
		}
	}
	return nil
}
