package assign

import (
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// CloneNamespaces gives the flags of clone(2) that make a task's namespaces. With
// CLONE_NEWUSER the kernel makes that one first and lets it own the others, so
// the privilege for these comes with it. See user_namespaces(7).
func CloneNamespaces(t *tasktree.Task) uint64 {
	var flags uint64
	if t.HasNamespace(tasktree.NamespaceUser) {
		flags |= unix.CLONE_NEWUSER
	}
	if t.HasNamespace(tasktree.NamespacePID) {
		flags |= unix.CLONE_NEWPID
	}
	return flags
}

// IDFile is a file of /proc that says what a user namespace makes of the IDs.
type IDFile struct{ Path, Text string }

// IDFiles gives what the first process of a user namespace writes, a root task or a
// bench: its own user and group are 0 inside. Without privileges a process may map its
// own IDs and no others, and its group only once it has given up setgroups(2). A
// privileged caller gets the same: a tree means the same whoever restores it.
func IDFiles(h *plan.Host) []IDFile {
	return []IDFile{
		{"/proc/self/setgroups", "deny"},
		{"/proc/self/uid_map", fmt.Sprintf("0 %d 1", h.UID)},
		{"/proc/self/gid_map", fmt.Sprintf("0 %d 1", h.GID)},
	}
}

// What hinders a task that maps its user, see user_namespaces(7).
const (
	DeniedIDs    = "the user may not read regrow's program file, so /proc/self is root's (chmod +r it), or a security module denies it; allow it there"
	ReadOnlyProc = "/proc is mounted read-only; mount one that can be written (mount -t proc proc /proc)"
)
