package proc

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Subreaper asks whether the process is a child subreaper.
func Subreaper(was *int32) error {
	return os.NewSyscallError("prctl(PR_GET_CHILD_SUBREAPER)",
		unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(was)), 0, 0, 0))
}
