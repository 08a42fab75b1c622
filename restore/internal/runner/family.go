package runner

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// family keeps apart what belongs to a tree from the other children that this
// process may have: those that its caller left it by exec, those that the program
// starts, and those that come to it as a subreaper.
type family struct {
	self     proc.ID
	foreign  map[proc.ID]bool // children that were there before the tree
	alone    bool             // all the others are the tree's
	released uint64           // clock ticks since boot, 0: not yet
	reaped   map[int]bool     // numbers that tasks had, of a tree that ends without a release
}

// newFamily makes the process a child subreaper, so that it becomes the parent
// of what the tree orphans.
func newFamily(alone bool) (*family, error) {
	self, err := proc.Self()
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	f := &family{self: self, foreign: map[proc.ID]bool{}}
	before, _ := proc.Children(self)
	for _, p := range before {
		f.foreign[p.ID] = true
	}
	f.alone = alone && len(f.foreign) == 0
	if err := proc.EnterSubreaper(); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	return f, nil
}

// leave makes the process what it was before.
func (f *family) leave() { proc.LeaveSubreaper() }

// note notes that the tree is released, before any of its numbers can be another's.
func (f *family) note() {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) == nil {
		f.released = uint64(now.Nano()) / uint64(time.Second/ticks)
	}
}

// ticks is how many there are to a second in /proc, whatever the kernel's own.
const ticks = 100

// owns reports whether a child that has the number of a task is that task. A tree that
// was never released may still fork while it is being ended, but nobody else has waited
// for its tasks; once it is released it forks no task any more.
func (f *family) owns(child proc.ID) bool {
	if f.released == 0 {
		return !f.reaped[child.PID]
	}
	return child.Began <= f.released
}

// end kills the root, everything below it and everything that it has orphaned,
// and returns when nothing is left. tasks gives the numbers of the tasks that have been
// forked.
//
// Descendants may fork while they are being killed, so this is repeated; a pass
// that finds nothing is the end. A task that the kernel cannot kill (state D)
// would hold it up for ever, so there is a bound.
func (f *family) end(root proc.ID, rootFD int, tasks func() []int) {
	const patience = 30 * time.Second
	f.reaped = map[int]bool{}
	ours := map[proc.ID]bool{root: true}
	for _, p := range proc.Descendants(root) {
		ours[p.ID] = true
	}
	_ = unix.PidfdSendSignal(rootFD, unix.SIGKILL, nil, 0) // the sweep does so, too
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		left := f.sweep(ours, tasks)
		if left == 0 {
			return
		}
		time.Sleep(200 * time.Microsecond) //nolint:forbidigo // nothing tells when a process that is no child of ours is gone
	}
}

// sweep kills or reaps once. It gives the number of processes found, with those whose
// status somebody else has taken meanwhile, and adds them to ours.
func (f *family) sweep(ours map[proc.ID]bool, tasks func() []int) int {
	found, left := f.children(ours, tasks)
	for _, child := range found {
		left++
		ours[child.ID] = true
		if child.Ended() {
			child.Reap()
			f.reaped[child.PID] = true
			continue
		}
		for _, p := range append(proc.Descendants(child.ID), child) {
			ours[p.ID] = true
			_ = p.Signal(unix.SIGKILL)
		}
	}
	return left
}

// children lists the children of this process that are the tree's: ours, or tasks. A
// task that another is just forking may be missed, but not the other one. For missed,
// see [proc.Children].
func (f *family) children(ours map[proc.ID]bool, tasks func() []int) (all []proc.Status, missed int) {
	all, missed = proc.Children(f.self)
	all = slices.DeleteFunc(all, func(p proc.Status) bool { return f.foreign[p.ID] })
	if f.alone || !slices.ContainsFunc(all, func(p proc.Status) bool { return !ours[p.ID] }) {
		return all, missed
	}
	forked := map[int]bool{}
	for _, pid := range tasks() { // after the look at the children
		forked[pid] = true
	}
	return slices.DeleteFunc(all, func(p proc.Status) bool {
		known := ours[p.ID] || forked[p.PID] && f.owns(p.ID)
		return !known
	}), missed
}
