package plan

import "regrow/tasktree/recipe"

// Host is what a plan must know about the process that will carry it out: the caller's
// attributes, which the tasks get back, and its limits.
type Host struct {
	SoftFiles, HardFiles uint64 // the caller's RLIMIT_NOFILE, before the Go runtime raised it
	Ignored              uint64 // signals that are ignored: bit N-1 for signal N
	Environ              []string
	Cwd                  string // absolute; "" if the current folder has no path
	UID, GID             int    // effective, in the caller's user namespace
	OldOpen              bool   // a sandbox refuses openat2(2): paths with links cannot be opened safely
	OldClone             bool   // a sandbox refuses clone3(2): clone(2) makes the tasks
	PipesLimited         bool   // fs.pipe-user-pages-soft and -hard apply to this process, see pipe(7)
	ExecSealed           bool   // memfd_create(2) takes MFD_EXEC and MFD_NOEXEC_SEAL: since Linux 6.3
	Processors           int    // processors that the tasks may use; a large tree is forked on that many; 0 means 1
}

// Holds reports whether a condition of a recipe's step is true on the host.
func (h *Host) Holds(c recipe.Condition) bool {
	switch c {
	case recipe.Always:
		return true
	case recipe.PipesLimited:
		return h.PipesLimited
	case recipe.ExecSealed:
		return h.ExecSealed
	}
	return false
}
