package runner

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/test/pidns"
)

// own starts a child of this program's own, which has a child.
func own(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", "sleep 1000 & wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// familyOf gives the process of a command, and what is below it once there is something.
func familyOf(t *testing.T, cmd *exec.Cmd) (all []proc.ID) {
	t.Helper()
	id, err := proc.Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if below := proc.Descendants(id); len(below) > 0 {
			return []proc.ID{id, below[0].ID}
		}
		if time.Now().After(deadline) {
			t.Fatal("no child")
		}
	}
}

// allLive demands that nobody has ended.
func allLive(t *testing.T, when string, ids []proc.ID) {
	t.Helper()
	time.Sleep(50 * time.Millisecond) // for a signal to do its work; without one nothing happens, however long this takes
	for _, id := range ids {
		if !id.Lives() {
			t.Errorf("%s: process %d has ended, which is none of the tree's", when, id.PID)
		}
	}
}

// TestKillAfterTheEnd kills a tree whose root has ended and was waited for, when another
// process has the root's number.
func TestKillAfterTheEnd(t *testing.T) {
	if !pidns.Inside(t) {
		return
	}
	tree := startTree(t, crowd(t, 2), Options{})
	if err := tree.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Wait(); err != nil {
		t.Fatal(err)
	}
	stranger := pidns.Reuse(t, tree.RootPID(), func() *exec.Cmd { return own(t) })
	ids := familyOf(t, stranger)
	tree.Kill()
	if err := tree.Signal(unix.SIGTERM); err == nil {
		t.Error("a signal to a root that has ended is no error")
	}
	allLive(t, "Kill", ids)
	tree.Abort()
	allLive(t, "Abort", ids)
}

// TestForeignNumberAgain has the number of a child that was there before the tree come
// again: to one of the tree's.
func TestForeignNumberAgain(t *testing.T) {
	if !pidns.Inside(t) {
		return
	}
	before := own(t)
	_ = familyOf(t, before)
	f, err := newFamily(false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.leave()
	pid := before.Process.Pid
	_ = before.Process.Kill()
	_ = before.Wait()
	ours := familyOf(t, pidns.Reuse(t, pid, func() *exec.Cmd { return own(t) }))[0]
	found := false
	all, _ := f.children(map[proc.ID]bool{ours: true}, func() []int { return nil })
	for _, p := range all {
		found = found || p.ID == ours
	}
	if !found {
		t.Errorf("process %d is the tree's, and taken for one that was there before", pid)
	}
}

// TestTaskNumberAgain has a child of the program's own get the number of a task that has
// ended: nobody takes its status, or ends it.
func TestTaskNumberAgain(t *testing.T) {
	if !pidns.Inside(t) {
		return
	}
	tree := startTree(t, crowd(t, 1), Options{})
	task := tree.Report().Tasks[1].HostPID
	if err := tree.Signal(unix.SIGKILL); err != nil { // its orphan comes to this process
		t.Fatal(err)
	}
	if err := unix.Kill(task, unix.SIGKILL); err != nil { // its number is its own until it was waited for
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		tree.ReapOrphans()
		if _, err := proc.Of(task); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the orphan is still there")
		}
	}
	stranger := pidns.Reuse(t, task, func() *exec.Cmd { return own(t) })
	ids := familyOf(t, stranger)
	tree.ReapOrphans()
	if _, err := tree.Wait(); err != nil {
		t.Error(err)
	}
	allLive(t, "the end", ids)
}
