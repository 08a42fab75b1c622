package restore

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// getSubreaper asks whether the process is a child subreaper.
func getSubreaper(was *int32) error {
	return os.NewSyscallError("prctl(PR_GET_CHILD_SUBREAPER)",
		unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(was)), 0, 0, 0))
}
