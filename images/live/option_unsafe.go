package live

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Option implements [kind.LiveCopy].
func (c *liveCopy) Option(level, nr, size int) ([]byte, error) {
	value := make([]byte, size)
	got, err := getsockopt(c.fd, level, nr, value, size)
	return value[:min(got, size)], err
}

// Filter implements [kind.LiveCopy]: SO_GET_FILTER counts instructions, not bytes.
func (c *liveCopy) Filter() ([]byte, error) {
	const instruction = 8
	n, err := getsockopt(c.fd, unix.SOL_SOCKET, unix.SO_GET_FILTER, nil, 0)
	if err != nil || n == 0 {
		return nil, err
	}
	program := make([]byte, instruction*n)
	_, err = getsockopt(c.fd, unix.SOL_SOCKET, unix.SO_GET_FILTER, program, n)
	if errors.Is(err, unix.EINVAL) {
		err = errMoves
	}
	return program, err
}

// getsockopt gives the length that the kernel says.
func getsockopt(fd, level, nr int, value []byte, size int) (int, error) {
	length := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(nr), uintptr(unsafe.Pointer(unsafe.SliceData(value))), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return 0, os.NewSyscallError("getsockopt", errno)
	}
	return int(length), nil
}
