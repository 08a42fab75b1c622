package e2e

import "golang.org/x/sys/unix"

// sameFile asks the kernel whether two descriptors share an open file, see kcmp(2).
func sameFile(pid1, fd1, pid2, fd2 int) (bool, error) {
	const kcmpFile = 0
	r, _, e := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), kcmpFile, uintptr(fd1), uintptr(fd2), 0)
	if e != 0 {
		return false, e
	}
	return r == 0, nil
}

// sameTable asks the kernel whether two tasks share a descriptor table.
func sameTable(pid1, pid2 int) (bool, error) {
	const kcmpFiles = 2
	r, _, e := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), kcmpFiles, 0, 0, 0)
	if e != 0 {
		return false, e
	}
	return r == 0, nil
}
