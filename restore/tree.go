package restore

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/runner"
)

// Tree is a restored tree for which this process is responsible. Exactly one of Wait, End,
// Abort and Detach ends that responsibility. Another goroutine may call Signal during Wait.
type Tree struct{ tree *runner.Tree }

// Report returns the report of the restore.
func (t *Tree) Report() Report { return t.tree.Report() }

// RootPID returns the root's pid as this process sees it.
func (t *Tree) RootPID() int { return t.tree.RootPID() }

// Wait waits until the root has ended, ends the rest of the tree, and returns how the root
// ended.
func (t *Tree) Wait() (Status, error) { return t.tree.Wait() }

// ReapOrphans reaps orphans of the tree that have ended: tasks, and with
// [Options.Alone] also all processes that programs of the tree have left. Call it on
// SIGCHLD, because a child subreaper would otherwise collect zombies until the tree
// ends. Another goroutine may call it during Wait.
func (t *Tree) ReapOrphans() { t.tree.ReapOrphans() }

// Signal sends a signal to the root. It returns an error if the root has ended.
func (t *Tree) Signal(sig unix.Signal) error { return t.tree.Signal(sig) }

// Kill kills all present tasks of the tree. Wait then returns.
func (t *Tree) Kill() { t.tree.Kill() }

// RootHandles reports whether the root itself reacts to a signal, by a handler or by the
// default action: it runs a program and, if it is pid 1 of a namespace, it has a handler,
// because the kernel drops other signals to pid 1.
func (t *Tree) RootHandles(sig unix.Signal) bool { return t.tree.RootHandles(sig) }

// End kills the tree and returns when nothing of it is left. Without [Options.Alone] that
// does not include processes that programs of the tree have orphaned.
func (t *Tree) End() { t.tree.End() }

// Abort ends the tree like a failed restore: it does what End does, and removes the files
// that the restore has made. It may be called after Wait.
func (t *Tree) Abort() { t.tree.Abort() }

// Detach leaves the tree to itself.
func (t *Tree) Detach() { t.tree.Detach() }
