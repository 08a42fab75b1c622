package proc

import (
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// IsSubreaper reports whether the calling process is a child subreaper: see prctl(2),
// PR_GET_CHILD_SUBREAPER. Since Linux 3.4.
func IsSubreaper() (bool, error) {
	var is int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&is)), 0, 0, 0)
	return is != 0, os.NewSyscallError("prctl(PR_GET_CHILD_SUBREAPER)", err)
}

// subreaper counts those for whom this process is one.
var subreaper struct {
	mu   sync.Mutex
	many int
	was  bool // one before
}

// EnterSubreaper makes the calling process a child subreaper, so that it becomes the
// parent of what its descendants orphan, until [LeaveSubreaper] was called as often.
// Safe for several goroutines.
func EnterSubreaper() (err error) {
	s := &subreaper
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.many == 0 {
		if s.was, err = IsSubreaper(); err != nil {
			return err
		}
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return os.NewSyscallError("prctl(PR_SET_CHILD_SUBREAPER)", err)
		}
	}
	s.many++
	return nil
}

// LeaveSubreaper takes back what [EnterSubreaper] has done: a process that was a
// subreaper before stays one. Safe for several goroutines.
func LeaveSubreaper() {
	s := &subreaper
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.many--; s.many == 0 && !s.was {
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	}
}
