package safepath

import "errors"

// Another says why a path would be another file, folder or program for each
// process that opens it. It is an error.
type Another uint8

// The reasons.
const (
	Magic    Another = iota + 1 // its way goes through a magic link of procfs
	Process                     // it is a process's own entry on a procfs
	Terminal                    // it is the controlling terminal
)

// ErrAnother is what each of them is, for [errors.Is].
var ErrAnother = errors.New("would mean another process")

// Error gives the same words for all of them; [Another.Why] says more.
func (Another) Error() string { return ErrAnother.Error() }

// Is makes each of them [ErrAnother].
func (Another) Is(target error) bool { return target == ErrAnother }

const useInherit = "use {type: inherit, key: ...} for a descriptor of the caller's"

// Why says why, and what to do instead.
func (a Another) Why() string {
	switch a {
	case Magic, Process: // which of them depends on what the one who opens it has open
		return "it is in a process's own folder of /proc, or the way to it leads through one; " + useInherit
	case Terminal:
		return "it is the controlling terminal of whoever opens it; use {type: inherit, key: stdin} for the caller's terminal"
	}
	return ""
}

// TerminalDevice is st_rdev of the controlling terminal: the character device 5:0,
// see TTYAUX_MAJOR in linux/major.h. Which name it has does not matter.
const TerminalDevice = 5 << 8
