package restore

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// family keeps apart what belongs to a tree from the other children that this
// process may have: those that its caller left it by exec, those that the program
// starts, and those that come to it as a subreaper.
type family struct {
	foreign  map[int]bool // children that were there before the tree
	alone    bool         // all the others are the tree's
	released uint64       // clock ticks since boot, 0: not yet
}

// newFamily makes the process a child subreaper, so that it becomes the parent
// of what the tree orphans.
func newFamily(alone bool) (*family, error) {
	f := &family{foreign: map[int]bool{}}
	for _, pid := range children(os.Getpid()) {
		f.foreign[pid] = true
	}
	f.alone = alone && len(f.foreign) == 0
	return f, subreaper.enter()
}

// leave makes the process what it was before.
func (f *family) leave() { subreaper.leave() }

// subreaper counts the trees for which this process is a child subreaper.
var subreaper subreaping

type subreaping struct {
	mu    sync.Mutex
	trees int
	was   bool // one before
}

func (s *subreaping) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trees == 0 {
		var was int32
		if err := getSubreaper(&was); err != nil {
			return err
		}
		s.was = was != 0
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("restore: %w", os.NewSyscallError("prctl(PR_SET_CHILD_SUBREAPER)", err))
		}
	}
	s.trees++
	return nil
}

func (s *subreaping) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trees--; s.trees == 0 && !s.was {
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	}
}

// note notes that the tree is released, before any of its numbers can be another's.
func (f *family) note() {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) == nil {
		f.released = uint64(now.Nano()) / uint64(time.Second/ticks)
	}
}

// ticks is how many there are to a second in /proc, whatever the kernel's own.
const ticks = 100

// owns reports whether a child that has the number of a task is that task.
func (f *family) owns(pid int) bool {
	_, _, began, err := stat(pid)
	return err == nil && (f.released == 0 || began <= f.released)
}

// end kills the root, everything below it and everything that it has orphaned,
// and returns when nothing is left. The pidfd makes sure that the root's number
// is still the root's. tasks gives the numbers of the tasks that have been forked.
//
// Descendants may fork while they are being killed, so this is repeated; a pass
// that finds nothing is the end. A task that the kernel cannot kill (state D)
// would hold it up for ever, so there is a bound.
func (f *family) end(root, rootFD int, tasks func() []int) {
	const patience = 30 * time.Second
	ours := map[int]bool{root: true}
	if !f.reaped(root) {
		for _, pid := range descendants(root) {
			ours[pid] = true
		}
	}
	_ = unix.PidfdSendSignal(rootFD, unix.SIGKILL, nil, 0)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		left := f.sweep(ours, tasks)
		if left == 0 {
			return
		}
		time.Sleep(200 * time.Microsecond) //nolint:forbidigo // nothing tells when a process that is no child of ours is gone
	}
}

// reaped reports whether the number cannot be the root's any more.
func (f *family) reaped(root int) bool {
	ppid, err := parent(root)
	return err != nil || ppid != os.Getpid()
}

// sweep kills and reaps once, and gives the number of processes that it found. What it
// finds it adds to ours.
func (f *family) sweep(ours map[int]bool, tasks func() []int) int {
	left := 0
	for _, child := range f.children(ours, tasks) {
		left++
		for _, pid := range append(descendants(child), child) {
			ours[pid] = true
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		reap(child)
	}
	return left
}

// children lists the children of this process that are the tree's: ours, or tasks. A
// task that another is just forking may be missed, but not the other one.
func (f *family) children(ours map[int]bool, tasks func() []int) []int {
	all := slices.DeleteFunc(children(os.Getpid()), func(pid int) bool { return f.foreign[pid] })
	if f.alone || !slices.ContainsFunc(all, func(pid int) bool { return !ours[pid] }) {
		return all
	}
	forked := map[int]bool{}
	for _, pid := range tasks() { // after the look at the children
		forked[pid] = true
	}
	return slices.DeleteFunc(all, func(pid int) bool {
		known := ours[pid] || forked[pid] && f.owns(pid)
		return !known
	})
}

// reap takes the status of a child of ours if it has ended.
func reap(pid int) {
	for {
		_, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// Children lists the children of the calling process, or nothing where /proc is
// not its own. A process that has children when it calls [Start] cannot tell all
// orphans of the tree from theirs, see [Options.Alone].
func Children() []int {
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return nil
	}
	return children(os.Getpid())
}

// children lists the children of a process: of all its threads, see
// proc_tid_children(5). It is empty if the process is gone.
func children(pid int) []int {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, thread := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// descendants lists everything below a process, parents first.
func descendants(pid int) []int {
	all := children(pid)
	for i := 0; i < len(all); i++ {
		all = append(all, children(all[i])...)
	}
	return all
}

// parent gives the parent of a process.
func parent(pid int) (int, error) {
	_, ppid, _, err := stat(pid)
	return ppid, err
}

// stat gives the state of a process, a letter, its parent, and when it began, in clock
// ticks since boot. See proc_pid_stat(5).
func stat(pid int) (state string, ppid int, began uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // from the third on
	if len(fields) < 20 {
		return "", 0, 0, fmt.Errorf("/proc/%d/stat: odd form", pid)
	}
	ppid, err1 := strconv.Atoi(fields[1])
	began, err2 := strconv.ParseUint(fields[19], 10, 64)
	return fields[0], ppid, began, errors.Join(err1, err2)
}
