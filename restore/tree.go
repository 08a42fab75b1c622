package restore

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/runner"
)

// Tree is a restored tree that this process is responsible for. Exactly one of
// Wait, End, Abort and Detach ends that. Signal may be called beside Wait by another
// goroutine.
type Tree struct{ tree *runner.Tree }

// Report says what was restored.
func (t *Tree) Report() Report { return t.tree.Report() }

// RootPID gives the root's pid as this process sees it.
func (t *Tree) RootPID() int { return t.tree.RootPID() }

// Wait waits until the root has ended, ends what is left of the tree, and tells
// how the root ended.
func (t *Tree) Wait() (Status, error) { return t.tree.Wait() }

// ReapOrphans takes the status of orphans of the tree that have ended: of its tasks,
// and with [Options.Alone] of all that its programs have left. Call it on SIGCHLD: a
// subreaper that does not would collect them until the end. It may be called beside
// Wait by another goroutine.
func (t *Tree) ReapOrphans() { t.tree.ReapOrphans() }

// Signal sends a signal to the root. It is an error if the root has ended.
func (t *Tree) Signal(sig unix.Signal) error { return t.tree.Signal(sig) }

// Kill kills every task of the tree that there is now; Wait then returns.
func (t *Tree) Kill() { t.tree.Kill() }

// RootHandles reports whether the root would do something of its own with a
// signal: it runs a program, and if it is pid 1 of a namespace, where the
// kernel drops what has no handler, has a handler.
func (t *Tree) RootHandles(sig unix.Signal) bool { return t.tree.RootHandles(sig) }

// End kills what is left of the tree and returns when nothing is. Without
// [Options.Alone] that does not mean what the programs had orphaned.
func (t *Tree) End() { t.tree.End() }

// Abort ends the tree as a restore that has failed: as End does, and the files
// that the restore has made are removed. It may follow Wait.
func (t *Tree) Abort() { t.tree.Abort() }

// Detach lets the tree live on by itself.
func (t *Tree) Detach() { t.tree.Detach() }
