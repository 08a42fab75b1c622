package planner

import (
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
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

// idFile is a file of /proc that says what a user namespace makes of the IDs.
type idFile struct{ path, text string }

// idFiles gives what the root task writes: its own user and group are 0 inside.
// Without privileges a task may map its own IDs and no others, and its group only
// once it has given up setgroups(2). A privileged caller gets the same: a tree
// means the same whoever restores it.
func idFiles(h *plan.Host) []idFile {
	return []idFile{
		{"/proc/self/setgroups", "deny"},
		{"/proc/self/uid_map", fmt.Sprintf("0 %d 1", h.UID)},
		{"/proc/self/gid_map", fmt.Sprintf("0 %d 1", h.GID)},
	}
}

// writeIDs appends what writes the maps through descriptor fd, the lowest that is
// free.
func (w *writer) writeIDs(fd int) {
	a := w.pl.plan.Arena
	for _, f := range idFiles(&w.pl.plan.Host) {
		x := plan.Extra{Path: f.path, Hints: []recipe.Hint{
			{Errno: int(unix.EACCES), Text: DeniedIDs},
			{Errno: int(unix.EPERM), Text: "a security module gives user namespaces no rights, or root lacks CAP_SETFCAP; regrow check --host says which"},
			{Errno: int(unix.EROFS), Text: ReadOnlyProc},
		}}
		w.want(w.call(unix.SYS_OPENAT, atFDCWD(), a.String(f.path), unix.O_WRONLY|unix.O_CLOEXEC), int64(fd))
		w.note().Makes, w.note().Extra = 1, w.pl.extra(x)
		w.want(w.call(unix.SYS_WRITE, uint64(fd), a.String(f.text), uint64(len(f.text))), int64(len(f.text)))
		w.note().Extra = w.pl.extra(x)
		w.call(unix.SYS_CLOSE, uint64(fd))
	}
}

// What hinders a task that maps its user, see user_namespaces(7).
const (
	DeniedIDs    = "the user may not read regrow's program file, so /proc/self is root's (chmod +r it), or a security module denies it; allow it there"
	ReadOnlyProc = "/proc is mounted read-only; mount one that can be written (mount -t proc proc /proc)"
)

// rightsHint explains EACCES in a user namespace.
func (pl *planner) rightsHint() []recipe.Hint {
	if !pl.plan.Tree.HasNamespace(tasktree.NamespaceUser) {
		return nil
	}
	return []recipe.Hint{{Errno: int(unix.EACCES), Text: fmt.Sprintf(
		"in the tree's user namespace a task has the rights of user %d and no more: of root's, those over files of this user and group", pl.plan.Host.UID)}}
}
