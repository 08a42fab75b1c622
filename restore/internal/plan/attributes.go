package plan

import "regrow/tasktree/recipe"

// Host is what a plan has to know of the process that will restore it: the
// caller's attributes, which the tasks get back, and its limits.
type Host struct {
	SoftFiles, HardFiles uint64 // the caller's RLIMIT_NOFILE, before the Go runtime raised it
	Ignored              uint64 // signals that are ignored: bit N-1 for signal N
	Environ              []string
	Cwd                  string // absolute; "" if the current folder has no path
	UID, GID             int    // effective, as the caller's user namespace has them
	OldOpen              bool   // openat2(2) is refused, as sandboxes do: paths with links cannot be opened safely
	OldClone             bool   // clone3(2) is refused, as sandboxes of containers do: clone(2) makes the tasks
	PipesLimited         bool   // fs.pipe-user-pages-soft and -hard bind what this process makes, see pipe(7)
	ExecSealed           bool   // memfd_create(2) takes MFD_EXEC and MFD_NOEXEC_SEAL: since Linux 6.3
	Processors           int    // that the tasks may use at a time: a large tree is forked by as many; 0 is 1
}

// Holds reports whether a condition of a recipe's step holds on the host.
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
