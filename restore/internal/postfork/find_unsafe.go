package postfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// find looks a program up with the rights of the task: the first candidate that
// is one goes to the cell.
//
// a: address of the candidates' addresses, count, cell.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func find(h *program.Head, priv unsafe.Pointer, a *[6]uint64) syscall.Errno {
	found := unix.ENOENT
	for i := uint64(0); i < a[1]; i++ {
		path := *(*uint64)(at(h, a[0]+8*i))
		e := executable(priv, uintptr(path))
		if e == 0 {
			*(*uint64)(at(h, a[2])) = path
			return 0
		}
		if e != unix.ENOENT && e != unix.ENOTDIR {
			found = e // more to the point than "not found"
		}
	}
	return found
}

// executable looks whether a path is a program. faccessat asks for the real user,
// which a task has no other than (faccessat2 is newer than some sandboxes).
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func executable(priv unsafe.Pointer, path uintptr) syscall.Errno {
	const cwd = ^uintptr(99) // AT_FDCWD
	stat := (*syscall.Stat_t)(unsafe.Add(priv, program.PrivStat))
	e := syscall.EINTR
	for e == syscall.EINTR {
		_, _, e = syscall.RawSyscall6(unix.SYS_NEWFSTATAT, cwd, path, uintptr(unsafe.Pointer(stat)), 0, 0, 0)
	}
	if e != 0 {
		return e
	}
	if stat.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		return syscall.EISDIR
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return syscall.EACCES
	}
	e = syscall.EINTR
	for e == syscall.EINTR {
		_, _, e = syscall.RawSyscall6(syscall.SYS_FACCESSAT, cwd, path, unix.X_OK, 0, 0, 0)
	}
	return e
}
