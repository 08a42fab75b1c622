package runner

import (
	"errors"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/tasktree"
)

// startTree restores a tree, and ends it with the test.
func startTree(t *testing.T, tree *tasktree.Tree, o Options) *Tree {
	t.Helper()
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	p, err := planner.New(tree, here, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Timeout = patience
	started, err := startNow(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Abort)
	return started
}

func lives(pid int) bool {
	s, err := proc.Stat(pid)
	return err == nil && !s.Ended()
}

func isSubreaper(t *testing.T) bool {
	t.Helper()
	is, err := proc.IsSubreaper()
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// TestOwnChildren has a program that starts a child of its own while a tree lives.
func TestOwnChildren(t *testing.T) {
	tree := startTree(t, crowd(t, 3), Options{})
	own := exec.Command("sleep", "60")
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	ended := exec.Command("true")
	if err := ended.Start(); err != nil {
		t.Fatal(err)
	}
	for range 100 { // as on many SIGCHLD
		tree.ReapOrphans()
		time.Sleep(time.Millisecond)
	}
	if err := ended.Wait(); err != nil {
		t.Errorf("a child of the program's own: %v", err)
	}
	tree.End()
	if !lives(own.Process.Pid) {
		t.Error("the end of the tree was that of the program's own child, too")
	}
	_ = own.Process.Kill()
	if err, ok := errors.AsType[*exec.ExitError](own.Wait()); !ok || err.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("a child of the program's own: %v", err)
	}
	if left := proc.OwnChildren(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestTwoTrees restores two trees by one program: the end of one is no matter of the
// other.
func TestTwoTrees(t *testing.T) {
	if isSubreaper(t) {
		t.Fatal("a subreaper before there is a tree")
	}
	first, second := startTree(t, crowd(t, 3), Options{}), startTree(t, crowd(t, 4), Options{})
	first.End()
	if lives(first.RootPID()) {
		t.Error("the first tree lives on")
	}
	if n := len(proc.Descendants(second.root)); n != 4 || !lives(second.RootPID()) {
		t.Errorf("the second tree has %d children, want 4", n)
	}
	if !isSubreaper(t) {
		t.Error("no subreaper, and the second tree has not ended")
	}
	second.End()
	if left := proc.OwnChildren(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if isSubreaper(t) {
		t.Error("a subreaper after the last tree")
	}
}

// TestKilledParent kills a task with children: they come to this process, and are
// the tree's in any case.
func TestKilledParent(t *testing.T) {
	for _, alone := range []bool{false, true} {
		tree := startTree(t, crowd(t, 3), Options{Alone: alone})
		var orphans []int
		for _, p := range proc.Descendants(tree.root) {
			orphans = append(orphans, p.PID)
		}
		if err := unix.Kill(tree.RootPID(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		status, err := tree.Wait()
		if err != nil || status.Signal != unix.SIGKILL {
			t.Errorf("alone %v: %v, %v", alone, status, err)
		}
		if slices.ContainsFunc(orphans, lives) || len(proc.OwnChildren()) > 0 {
			t.Errorf("alone %v: orphans live on", alone)
		}
	}
}

// TestAlone has a root whose program leaves a daemon: it is ended where it can only be
// the tree's.
func TestAlone(t *testing.T) {
	for _, alone := range []bool{false, true} {
		described := crowd(t, 1)
		described.Root.Run = []tasktree.Text{plantest.Text("sh"), plantest.Text("-c"), plantest.Text("(sleep 60 &); exit 7")}
		if problems := described.Check(); len(problems) > 0 {
			t.Fatal(problems)
		}
		status, err := startTree(t, described, Options{Alone: alone}).Wait()
		if err != nil || status.ExitStatus() != 7 {
			t.Errorf("alone %v: %v, %v", alone, status, err)
		}
		left := proc.OwnChildren()
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
		if want := map[bool]int{false: 1}[alone]; len(left) != want {
			t.Errorf("alone %v: %d daemons live on, want %d", alone, len(left), want)
		}
	}
}

// TestOwnedUntilReaped holds which children with numbers of tasks are the tree's: of
// one that was not released also those that it forks while it is being ended, until
// their numbers have been given back; of one that was, those that began before.
func TestOwnedUntilReaped(t *testing.T) {
	f := &family{reaped: map[int]bool{7: true}}
	if late := (proc.ID{PID: 5, Began: 1 << 60}); !f.owns(late) {
		t.Error("a task that was forked late is nobody's")
	}
	if f.owns(proc.ID{PID: 7, Began: 1 << 60}) {
		t.Error("a number that was given back is still the tree's")
	}
	f.released = 1000
	if !f.owns(proc.ID{PID: 5, Began: 1000}) || f.owns(proc.ID{PID: 5, Began: 1001}) {
		t.Error("a released tree owns what began before, and no more")
	}
}
