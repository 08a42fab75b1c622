//go:build amd64

package memory

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// threadPointer gives the address of the calling thread's local memory.
func threadPointer() uint64 {
	const archGetFS = 0x1003
	var fs uint64
	_, _, _ = unix.RawSyscall(unix.SYS_ARCH_PRCTL, archGetFS, uintptr(unsafe.Pointer(&fs)), 0)
	return fs
}
