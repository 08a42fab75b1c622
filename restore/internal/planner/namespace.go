package planner

import (
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/assign"
	"regrow/restore/internal/plan"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// writeIDs appends what writes the maps through descriptor fd, the lowest that is
// free.
func (w *writer) writeIDs(fd int) {
	a := w.pl.plan.Arena
	for _, f := range assign.IDFiles(&w.pl.plan.Host) {
		x := plan.Extra{Path: f.Path, Hints: []recipe.Hint{
			{Errno: int(unix.EACCES), Text: assign.DeniedIDs},
			{Errno: int(unix.EPERM), Text: "a security module gives user namespaces no rights, or root lacks CAP_SETFCAP; regrow check --host says which"},
			{Errno: int(unix.EROFS), Text: assign.ReadOnlyProc},
		}}
		w.want(w.call(unix.SYS_OPENAT, atFDCWD(), a.String(f.Path), unix.O_WRONLY|unix.O_CLOEXEC), int64(fd))
		w.note().Makes, w.note().Extra = 1, w.pl.extra(x)
		w.want(w.call(unix.SYS_WRITE, uint64(fd), a.String(f.Text), uint64(len(f.Text))), int64(len(f.Text)))
		w.note().Extra = w.pl.extra(x)
		w.call(unix.SYS_CLOSE, uint64(fd))
	}
}

// rightsHint explains EACCES in a user namespace.
func (pl *planner) rightsHint() []recipe.Hint {
	if !pl.plan.Tree.HasNamespace(tasktree.NamespaceUser) {
		return nil
	}
	return []recipe.Hint{{Errno: int(unix.EACCES), Text: fmt.Sprintf(
		"in the tree's user namespace a task has the rights of user %d and no more: of root's, those over files of this user and group", pl.plan.Host.UID)}}
}
