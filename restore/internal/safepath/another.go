package safepath

import "errors"

// Another is the reason why a path would be another file, folder or program in each process
// that opens it. It is an error.
type Another uint8

// The reasons.
const (
	Magic    Another = iota + 1 // it leads through a magic link of procfs
	Process                     // it is a process's own entry of a procfs
	Terminal                    // it is the controlling terminal
)

// ErrAnother is the error that all reasons are, for [errors.Is].
var ErrAnother = errors.New("would mean another process")

// Error returns the same text for all reasons; [Another.Why] has details.
func (Another) Error() string { return ErrAnother.Error() }

// Is reports whether target is [ErrAnother].
func (Another) Is(target error) bool { return target == ErrAnother }

const useInherit = "use {type: inherit, key: ...} for a descriptor of the caller's"

// Why returns the reason in words, and what to do instead.
func (a Another) Why() string {
	switch a {
	case Magic, Process: // which of the two depends on the descriptors of the process that opens the path
		return "it is in a process's own folder of /proc, or leads through one; " + useInherit
	case Terminal:
		return "it is the controlling terminal of the process that opens it; use {type: inherit, key: stdin} for the caller's terminal"
	}
	return ""
}

// TerminalDevice is st_rdev of the controlling terminal, the character device 5:0: see
// TTYAUX_MAJOR in linux/major.h. The device may have any name.
const TerminalDevice = 5 << 8
