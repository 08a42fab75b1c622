//go:build linux

package fdstore

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kcmpFile asks the kernel whether two descriptors share an open file: kcmp(2), since
// Linux 3.5, if configured.
func kcmpFile(pid1, fd1, pid2, fd2 int) (bool, error) {
	const kcmpTypeFile = 0
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), kcmpTypeFile, uintptr(fd1), uintptr(fd2), 0)
	if errno != 0 {
		return false, os.NewSyscallError("kcmp", errno)
	}
	return r == 0, nil
}

// same reports whether a and b share an open file.
func same(t testing.TB, a, b *os.File) bool {
	t.Helper()
	ok, err := kcmpFile(os.Getpid(), int(a.Fd()), os.Getpid(), int(b.Fd()))
	if err != nil {
		skip(t, err.Error())
	}
	return ok
}

// ioUring returns a descriptor that cannot be sent over a socket (since Linux 6.7).
func ioUring(t testing.TB) *os.File {
	t.Helper()
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		skip(t, os.NewSyscallError("io_uring_setup", errno).Error())
	}
	f := os.NewFile(fd, "io_uring")
	t.Cleanup(func() { f.Close() })
	return f
}

// disconnect does connect(AF_UNSPEC), for which x/sys has no address.
func disconnect(fd int) error {
	unspec := [2]byte{} // sa_family_t AF_UNSPEC
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec))
	if errno != 0 {
		return os.NewSyscallError("connect AF_UNSPEC", errno)
	}
	return nil
}
