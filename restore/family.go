package restore

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// family keeps apart what belongs to a tree from the other children that this
// process may have: those that its caller left it by exec, and those that come
// to it as a subreaper.
type family struct {
	foreign      map[int]bool // children that were there before the tree
	wasSubreaper bool
}

// newFamily makes the process a child subreaper, so that it becomes the parent
// of what the tree orphans.
func newFamily() (*family, error) {
	f := &family{foreign: map[int]bool{}}
	for _, pid := range children(os.Getpid()) {
		f.foreign[pid] = true
	}
	var was int32
	if err := getSubreaper(&was); err != nil {
		return nil, err
	}
	f.wasSubreaper = was != 0
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("restore: %w", os.NewSyscallError("prctl(PR_SET_CHILD_SUBREAPER)", err))
	}
	return f, nil
}

// leave makes the process what it was before.
func (f *family) leave() {
	if !f.wasSubreaper {
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	}
}

// end kills the root, everything below it and everything that it has orphaned,
// and returns when nothing is left. The pidfd makes sure that the root's number
// is still the root's.
//
// Descendants may fork while they are being killed, so this is repeated; a pass
// that finds nothing is the end. A task that the kernel cannot kill (state D)
// would hold it up for ever, so there is a bound.
func (f *family) end(root, rootFD int, tasks []int) {
	const patience = 30 * time.Second
	var known []int
	if !f.reaped(root) {
		known = descendants(root)
	}
	_ = unix.PidfdSendSignal(rootFD, unix.SIGKILL, nil, 0)
	ours := map[int]bool{root: true}
	for _, pid := range append(known, tasks...) {
		ours[pid] = true
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		left := f.sweep(ours)
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

// sweep kills and reaps once, and gives the number of processes that it found.
// A child that was not there before the tree is the tree's, or an orphan of it.
func (f *family) sweep(ours map[int]bool) int {
	left := 0
	for _, child := range children(os.Getpid()) {
		if f.foreign[child] || len(f.foreign) > 0 && !ours[child] {
			continue
		}
		left++
		for _, pid := range append(descendants(child), child) {
			ours[pid] = true
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		reap(child)
	}
	return left
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
// orphans of the tree from theirs: what the tree had orphaned before it was looked
// at is then left to live when the tree ends.
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
	_, ppid, err := stat(pid)
	return ppid, err
}

// stat gives the state of a process, a letter, and its parent. See
// proc_pid_stat(5).
func stat(pid int) (state string, ppid int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return "", 0, fmt.Errorf("/proc/%d/stat: odd form", pid)
	}
	ppid, err = strconv.Atoi(fields[1])
	return fields[0], ppid, err
}
