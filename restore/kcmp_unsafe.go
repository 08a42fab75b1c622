package restore

import (
	"os"

	"golang.org/x/sys/unix"
)

// kcmpFile compares descriptors of two processes, see kcmp(2): 0 if they are one
// open file, else 1 or 2, an order that stays the same as long as both live.
// Needs the right to look at both (PTRACE_MODE_READ_REALCREDS) and CONFIG_KCMP.
func kcmpFile(pid1, pid2, fd1, fd2 int) (int, error) {
	r, _, e := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), 0, uintptr(fd1), uintptr(fd2), 0)
	if e != 0 {
		return 0, os.NewSyscallError("kcmp", e)
	}
	return int(r), nil
}
