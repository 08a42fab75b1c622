package proc

import (
	"os"

	"golang.org/x/sys/unix"
)

// CompareFiles compares descriptors of two processes, see kcmp(2): 0 if they are one
// open file, else 1 or 2, an order that stays the same as long as both live.
// Needs the right to look at both (PTRACE_MODE_READ_REALCREDS) and CONFIG_KCMP.
func CompareFiles(pid1, pid2, fd1, fd2 int) (int, error) { return kcmp(pid1, pid2, 0, fd1, fd2) }

// CompareTables compares the descriptor tables of two processes in the same way
// (KCMP_FILES): 0 if they share one.
func CompareTables(pid1, pid2 int) (int, error) {
	const kcmpFiles = 2
	return kcmp(pid1, pid2, kcmpFiles, 0, 0)
}

func kcmp(pid1, pid2, kind, a, b int) (int, error) {
	r, _, e := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), uintptr(kind), uintptr(a), uintptr(b), 0)
	if e != 0 {
		return 0, os.NewSyscallError("kcmp", e)
	}
	return int(r), nil
}
