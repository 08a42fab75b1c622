package runner

import (
	"regrow/internal/proc"
)

// root is the first task of a tree as this process sees it. The zero PID says that it
// was not made yet.
type root struct {
	proc.ID

	fd        int  // its pidfd, -1: none
	namespace bool // it has a pid namespace of its own
}

// made reports whether there is, or was, one.
func (r *root) made() bool { return r.PID != 0 }

// identify finds out when the root began, if that is not known yet: to read it takes a
// descriptor, and there may be none left between the clone and the release. Nobody has
// waited for the root, so its number is its own.
func (r *root) identify() error {
	if !r.made() || r.Began != 0 {
		return nil
	}
	id, err := proc.Of(r.PID)
	if err == nil {
		r.ID = id
	}
	return err
}

// ended gives the processes below the root that have ended and that nobody has waited
// for, by their numbers in the tree's pid namespace. It is an error if there is no
// descriptor left for a look at them.
func (r root) ended() (map[int]bool, error) {
	if err := proc.Readable(); err != nil {
		return nil, err
	}
	if err := r.identify(); err != nil {
		return nil, err
	}
	ended := map[int]bool{}
	for _, p := range proc.Descendants(r.ID) {
		if p.Ended() {
			ended[r.inner(p.PID)] = true
		}
	}
	return ended, nil
}

// inner gives the number of a process in the tree's pid namespace, 0 if it is gone.
func (r root) inner(pid int) int {
	if r.namespace {
		return proc.InnerPID(pid)
	}
	return pid
}
