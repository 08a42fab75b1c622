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

// Compares reports by its error that this process may not compare at all, by what it is
// refused: a seccomp filter answers EPERM (Docker's does without CAP_SYS_PTRACE), a
// kernel without CONFIG_KCMP ENOSYS.
func Compares() error {
	_, err := CompareTables(os.Getpid(), os.Getpid())
	return err
}

// Order turns an answer of [CompareFiles] or [CompareTables] into -1, 0 or 1, as
// [cmp.Compare] gives it.
func Order(answer int) int { return []int{0, -1, 1, 0}[answer&3] }

func kcmp(pid1, pid2, kind, a, b int) (int, error) {
	r, _, e := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), uintptr(kind), uintptr(a), uintptr(b), 0)
	if e != 0 {
		return 0, os.NewSyscallError("kcmp", e)
	}
	return int(r), nil
}
