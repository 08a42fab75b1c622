package runner

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/prepare"
	"regrow/restore/internal/report"
	"regrow/tasktree"
)

// Tree is a restored tree that this process is responsible for. Exactly one of
// Wait, End, Abort and Detach ends that. Signal may be called beside Wait by another
// goroutine.
type Tree struct {
	plan   *plan.Plan
	report report.Report
	family *family
	undo   *prepare.Undo
	root   proc.ID

	mu     sync.Mutex
	rootFD int // -1 when the root was reaped, or the tree let go
}

// newTree gives the tree that was released.
func (r *run) newTree() *Tree {
	_ = r.root.identify() // our files are closed by now
	inner := r.inner()
	rep := report.New(r.plan, inner, report.HostPIDs(r.plan.Tree, r.root.ID, inner), r.elapsed)
	rep.Learned = r.plan.LearnedNumbers(r.arena.Base, r.arena.Bytes())
	return &Tree{plan: r.plan, report: rep, family: r.family, undo: r.undo, root: r.root.ID, rootFD: r.root.fd}
}

// Report says what was restored.
func (t *Tree) Report() report.Report { return t.report }

// RootPID gives the root's pid as this process sees it.
func (t *Tree) RootPID() int { return t.root.PID }

// Status is how a root task ended.
type Status struct {
	Code   int         // exit code, if Signal is 0
	Signal unix.Signal // that ended it, or 0
}

// ExitStatus gives the status that a shell would show: the code, or 128+N.
func (s Status) ExitStatus() int {
	if s.Signal != 0 {
		return 128 + int(s.Signal)
	}
	return s.Code
}

// Wait waits until the root has ended, ends what is left of the tree, and tells
// how the root ended.
func (t *Tree) Wait() (Status, error) {
	for {
		var info unix.WaitStatus
		pid, err := unix.Wait4(t.root.PID, &info, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			t.End()
			return Status{}, os.NewSyscallError("wait4", err)
		case pid != t.root.PID:
			continue
		}
		t.End()
		if info.Signaled() {
			return Status{Signal: info.Signal()}, nil
		}
		return Status{Code: info.ExitStatus()}, nil
	}
}

// ReapOrphans takes the status of orphans of the tree that have ended: of its tasks,
// and with [Options.Alone] of all that its programs have left. Call it on SIGCHLD: a
// subreaper that does not would collect them until the end. It may be called beside
// Wait by another goroutine.
func (t *Tree) ReapOrphans() {
	all, _ := t.family.children(nil, t.taskPIDs)
	for _, p := range all {
		if p.ID != t.root && p.Ended() {
			p.Reap()
		}
	}
}

// Signal sends a signal to the root. It is an error if the root has ended.
func (t *Tree) Signal(sig unix.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rootFD < 0 {
		return os.NewSyscallError("pidfd_send_signal", unix.ESRCH)
	}
	err := unix.PidfdSendSignal(t.rootFD, sig, nil, 0)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // a sandbox, perhaps
		return t.root.Signal(sig)
	}
	return os.NewSyscallError("pidfd_send_signal", err)
}

// Kill kills every task of the tree that there is now; Wait then returns.
func (t *Tree) Kill() {
	for _, p := range proc.Descendants(t.root) {
		_ = p.Signal(unix.SIGKILL) // it may have ended meanwhile
	}
	_ = t.Signal(unix.SIGKILL)
}

// RootHandles reports whether the root would do something of its own with a
// signal: it runs a program, and if it is pid 1 of a namespace, where the
// kernel drops what has no handler, has a handler.
func (t *Tree) RootHandles(sig unix.Signal) bool {
	if t.plan.Tree.Root.Holds() {
		return false
	}
	if !t.plan.Tree.HasNamespace(tasktree.NamespacePID) {
		return true
	}
	caught, _ := t.root.Catches(sig) // a root that is gone catches nothing
	return caught
}

// End kills what is left of the tree and returns when nothing is. Without
// [Options.Alone] that does not mean what the programs had orphaned.
func (t *Tree) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rootFD < 0 {
		return
	}
	t.family.end(t.root, t.rootFD, t.taskPIDs)
	t.letGo()
}

// taskPIDs gives the numbers that the tasks had at release.
func (t *Tree) taskPIDs() []int {
	var pids []int
	for _, task := range t.report.Tasks {
		if task.HostPID > 0 {
			pids = append(pids, task.HostPID)
		}
	}
	return pids
}

// Abort ends the tree as a restore that has failed: as End does, and the files
// that the restore has made are removed. It may follow Wait.
func (t *Tree) Abort() {
	t.End()
	t.undo.GiveUp()
}

// Detach lets the tree live on by itself.
func (t *Tree) Detach() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rootFD >= 0 {
		t.letGo()
	}
}

func (t *Tree) letGo() {
	_ = unix.Close(t.rootFD)
	t.rootFD = -1
	t.family.leave()
}
