package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/images"
	"regrow/restore"
)

// wantTask is the expected state of a held task.
type wantTask struct {
	name, parent string
	fds          map[int]wantFD
}

// wantFD is the expected state of a descriptor.
type wantFD struct {
	open    string // name of its open file
	cloexec bool
	flags   int64  // of the open file, -1: not checked
	pos     int64  // its offset
	path    string // of the open file, "": not checked
}

// holder is a descriptor of an open file.
type holder struct{ pid, fd int }

// prove checks a restored tree with the kernel: parents, exact numbers, one open file
// description for one name and two for two, flags, offsets, close-on-exec, and that nothing
// of regrow is left.
func prove(want []wantTask, rep restore.Report) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if len(rep.Tasks) != len(want) {
		bad("%d tasks in the report, want %d", len(rep.Tasks), len(want))
		return problems
	}
	pids := map[string]int{}
	holders := map[string]holder{}
	for i, w := range want {
		task := rep.Tasks[i]
		pid := task.HostPID
		pids[w.name] = pid
		if task.Name != w.name || task.Parent != w.parent {
			bad("task %d is %q, child of %q, want %q, child of %q", i, task.Name, task.Parent, w.name, w.parent)
		}
		for _, p := range proveClean(pid, w.name, pids[w.parent]) {
			bad("task %s: %s", w.name, p)
		}
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil || len(entries) != len(w.fds) {
			bad("task %s: %d descriptors, want %d (%v)", w.name, len(entries), len(w.fds), err)
		}
		if numbers := slices.Sorted(maps.Keys(w.fds)); !slices.Equal(task.FDs, numbers) {
			bad("task %s: the report has %v, want %v", w.name, task.FDs, numbers)
		}
		for n, fd := range w.fds {
			if err := proveFD(pid, n, fd); err != nil {
				bad("task %s: fd %d (%s): %v", w.name, n, fd.open, err)
				continue
			}
			h, ok := holders[fd.open]
			if !ok {
				holders[fd.open] = holder{pid, n}
			} else if same, err := sameFile(h.pid, h.fd, pid, n); err != nil || !same {
				bad("task %s: fd %d is not the open file %s (%v)", w.name, n, fd.open, err)
			}
		}
	}
	names := slices.Sorted(maps.Keys(holders))
	for i, a := range names[:min(len(names), 60)] {
		for _, b := range names[:i] {
			if same, err := sameFile(holders[a].pid, holders[a].fd, holders[b].pid, holders[b].fd); err != nil || same {
				bad("%s and %s are one open file description (%v)", a, b, err)
			}
		}
	}
	return problems
}

// proveFD checks one descriptor.
func proveFD(pid, n int, want wantFD) error {
	info, err := fdinfo(pid, n)
	if err != nil {
		return err
	}
	flags, err := strconv.ParseInt(info["flags"], 8, 64)
	if err != nil {
		return err
	}
	if cloexec := flags&unix.O_CLOEXEC != 0; cloexec != want.cloexec {
		return fmt.Errorf("close-on-exec is %v, want %v", cloexec, want.cloexec)
	}
	if want.flags < 0 {
		return nil
	}
	const largeFile = 0o100000 // the kernel's O_LARGEFILE on amd64; unix has 0
	if got := flags &^ (unix.O_CLOEXEC | largeFile | 0o400000); got != want.flags&^0o400000 {
		return fmt.Errorf("flags are %#o, want %#o", got, want.flags)
	}
	if got := info["pos"]; got != strconv.FormatInt(want.pos, 10) {
		return fmt.Errorf("the offset is %s, want %d", got, want.pos)
	}
	if want.path == "" {
		return nil
	}
	got, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, n))
	if err == nil && got != filepath.Clean(want.path) {
		err = fmt.Errorf("leads to %q, want %q", got, want.path)
	}
	return err
}

// fdinfo reads the information on a descriptor, see proc_pid_fdinfo(5).
func fdinfo(pid, n int) (map[string]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, n))
	if err != nil {
		return nil, err
	}
	info := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		info[key] = strings.TrimSpace(value)
	}
	return info, nil
}

// proveClean checks the process state of a held task, and that nothing of regrow is left.
func proveClean(pid int, name string, parent int) (problems []string) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return []string{err.Error()}
	}
	want := []string{
		"Threads:\t1\n", "SigBlk:\t0000000000000000\n", "SigIgn:\t0000000000000000\n", "SigCgt:\t0000000000000000\n",
		"Name:\t" + name[:min(len(name), 15)] + "\n",
	}
	if parent != 0 {
		want = append(want, fmt.Sprintf("PPid:\t%d\n", parent))
	}
	for _, line := range want {
		if !strings.Contains(string(status), line) {
			problems = append(problems, fmt.Sprintf("status has no %q:\n%s", line, status))
		}
	}
	if cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); string(cmdline) != name+"\x00" {
		problems = append(problems, fmt.Sprintf("argument list %q", cmdline))
	}
	// A task unmaps the arena right after it is counted as holding.
	var maps []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if maps, _ = os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid)); !strings.Contains(string(maps), "/dev/zero") {
			break
		}
	}
	if strings.Contains(string(maps), "/dev/zero") || strings.Contains(string(maps), "c000000000-") {
		problems = append(problems, "keeps the arena or the Go heap:\n"+string(maps))
	}
	return problems
}

// provePipes reads every pipe of the tasks. It opens the pipe again through /proc/PID/fd,
// so the tasks' own open files are unchanged.
func (d *drawn) provePipes(rep restore.Report) (problems []string) {
	done := map[string]bool{}
	for i, w := range d.want {
		for n, fd := range w.fds {
			name, _, _ := strings.Cut(fd.open, ".")
			if _, isPipe := d.pipes[name]; !isPipe || done[name] {
				continue
			}
			done[name] = true
			content, capacity, err := readPipe(fmt.Sprintf("/proc/%d/fd/%d", rep.Tasks[i].HostPID, n))
			if want := d.pipes[name]; err != nil || content != want.content || capacity < want.capacity || capacity >= 2*want.capacity && capacity > 4096 {
				problems = append(problems, fmt.Sprintf("pipe %s: content %q, capacity %d, want %+v (%v)", name, content, capacity, want, err))
			}
		}
	}
	return problems
}

func readPipe(path string) (content string, capacity int, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", 0, err
	}
	defer unix.Close(fd)
	if capacity, err = unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err != nil {
		return "", 0, err
	}
	buf := make([]byte, 1<<20)
	n, err := unix.Read(fd, buf)
	if err == unix.EAGAIN {
		return "", capacity, nil
	}
	return string(buf[:max(n, 0)]), capacity, err
}

// wantOf derives the expected state of a tree of held tasks from its description.
func wantOf(t testing.TB, path string) []wantTask {
	t.Helper()
	tree, err := images.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []wantTask
	for _, task := range tree.Tasks() {
		w := wantTask{name: task.Name, fds: map[int]wantFD{}}
		if task.Parent != nil {
			w.parent = task.Parent.Name
		}
		for _, d := range task.Table().FDs {
			w.fds[d.FD] = wantFD{open: d.Open.EndName(d.End), cloexec: d.Cloexec, flags: -1}
		}
		want = append(want, w)
	}
	return want
}
