package e2e

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/images"
	"regrow/restore"
	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// mutated is the tree that the mutations change. Its held tasks and its program have all
// keys of a description.
const mutated = `version: 1
namespaces: []
files:
  log:  {type: reg, path: log, flags: [O_RDWR, O_CREAT, O_APPEND], offset: 5}
  data: {type: reg, path: data, flags: [O_RDWR, O_CREAT], offset: 7}
  null: {type: reg, path: /dev/null, flags: [O_RDWR]}
  pipe: {type: pipe, capacity: 65536, content: abc, flags: {r: [O_NONBLOCK], w: [O_DIRECT]}}
  more: {type: pipe}
  dir:  {type: reg, path: /usr, flags: [O_DIRECTORY]}
  ev:   {type: eventfd, counter: 5, flags: [O_NONBLOCK]}
  sigs: {type: signalfd, signals: [SIGUSR1, SIGTERM]}
  mem:  {type: memfd, name: m, size: 20000, content: {0: hello, 9000: tail}, seals: [F_SEAL_GROW], mode: 0640, owner: [0, 5], atime: 100.5, mtime: 2026-01-31T12:00:00Z, offset: 3}
  hole: {type: memfd, size: 8192, content: "", flags: [O_APPEND]}
  ro:   {type: reopen, file: mem, flags: [O_RDONLY, O_NONBLOCK], offset: 5}
tasks:
  - name: root
    fds: {0: null, 3: log, 4: data, 5: pipe.r, 6: pipe.w, 7: {file: more.r, cloexec: true}, 8: dir, 10: ev, 11: sigs, 12: mem, 13: hole, 14: ro}
    cwd: /usr
    umask: 0027
    nice: 3
    cloexec: [7]
    children:
      - name: exact
        pid: $PID
        fds: {3: log, 9: more.w}
      - name: sharer
        shares: {files: root}
      - name: program
        fds: {0: null, 1: null, 2: null}
        run: [sh, -c, 'exec sleep 1000']
        env: {A: one}
        env_clear: true
`

// mutation is one way in which a live tree may differ from its description.
type mutation struct {
	key  string // of the declaration: "task.cwd", "pipe.flags.r"
	name string // distinguishes mutations of the same key
	find string // matches the expected line of the output, with the line number of the description

	in       string                                  // the description, "": mutated
	restored []string                                // texts of the description and their replacements in the restored tree
	change   func(t *testing.T, pids map[string]int) // or a change of the live tree
	level    string
	since    string // the oldest kernel that shows it
}

// at calls do with a copy of a task's descriptor, to change the task's open file.
func at(t *testing.T, pid, fd int, do func(fd int) error) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	copied, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	if err := do(copied); err != nil {
		t.Fatal(err)
	}
}

func setFlags(flags int) func(int) error {
	return func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
		return err
	}
}

// calls makes a task execute a system call.
func calls(task string, nr uintptr, args ...uint64) func(*testing.T, map[string]int) {
	return func(t *testing.T, pids map[string]int) {
		t.Helper()
		if got := inject(t, pids[task], nr, args...); got < 0 {
			t.Fatalf("call %d: %v", nr, unix.Errno(-got))
		}
	}
}

func changes(task string, fd int, do func(fd int) error) func(*testing.T, map[string]int) {
	return func(t *testing.T, pids map[string]int) {
		t.Helper()
		at(t, pids[task], fd, do)
	}
}

func seek(to int64) func(int) error {
	return func(fd int) error {
		_, err := unix.Seek(fd, to, unix.SEEK_SET)
		return err
	}
}

func sends(bytes string) func(int) error {
	return func(fd int) error {
		_, err := unix.Write(fd, []byte(bytes))
		return err
	}
}

func pwrites(bytes string, at int64) func(int) error {
	return func(fd int) error {
		_, err := unix.Pwrite(fd, []byte(bytes), at)
		return err
	}
}

func takes(n int) func(int) error {
	return func(fd int) error {
		_, err := unix.Read(fd, make([]byte, n))
		return err
	}
}

var mutations = []mutation{
	{key: "document.namespaces", find: `16:\d+: .*namespaces: pid: described that of this process, real a namespace of its own`, restored: []string{"namespaces: []", "namespaces: [pid]", "        pid: $PID\n", "        pid: 99\n"}},
	{key: "document.tasks", name: "the root is another process", find: `16:\d+: task "root" .*: name: described "root", real "other"`, restored: []string{"name: root", "name: other", "{files: root}", "{files: other}"}},
	{key: "document.files", name: "the file of another entry", find: `17:\d+: .*fd 4: file "data": sharing: described another open file than fd 3`, restored: []string{"4: data", "4: log"}},
	{key: "task.name", find: `23:\d+: task "exact" .*: name: described "exact", real `, change: func(t *testing.T, pids map[string]int) {
		calls("exact", unix.SYS_PRCTL, unix.PR_SET_NAME, readable(t, pids["exact"])+1)(t, pids) // any text there, perhaps its name
	}},
	{key: "task.pid", find: `24:\d+: task "exact" .*: pid: described \d+, real \d+`, restored: []string{"        pid: $PID\n", ""}},
	{key: "task.fds", name: "a number is closed", find: `17:\d+: .*fd 4: file "data": described open, real the number is closed`, change: calls("root", unix.SYS_CLOSE, 4)},
	{key: "task.fds", name: "a number is open", find: `16:\d+: task "root" .*fd 77: described nothing, real .*/data`, change: calls("root", unix.SYS_DUP3, 4, 77, 0)},
	{key: "task.fds", name: "another open file of one inode", find: `25:\d+: .*fd 3: file "log": sharing: described the open file of fd 3 of task "root", real another one`, restored: []string{
		"fds: {3: log, 9", "fds: {3: again, 9", "  dir:", "  again: {type: reg, path: log, flags: [O_RDWR, O_APPEND], offset: 5}\n  dir:",
	}},
	{key: "task.fds", name: "two numbers are one open file", find: `17:\d+: .*fd 4: file "data": sharing: described another open file than fd 3`, change: calls("root", unix.SYS_DUP3, 3, 4, 0)},
	{key: "task.fds.file", name: "another end", find: `17:\d+: .*fd 5: file "pipe.r": described the end r, real pipe:.*\(end w\)`, restored: []string{"5: pipe.r, 6: pipe.w", "5: pipe.w, 6: pipe.r"}},
	{key: "task.fds.file", name: "the end of another pipe", find: `25:\d+: .*fd 9: file "more.w": described the other end of pipe:`, change: func(t *testing.T, pids map[string]int) {
		var other [2]int
		if err := unix.Pipe2(other[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = unix.Close(other[0]), unix.Close(other[1]) })
		give(t, pids["exact"], other[1], 9)
	}},
	{key: "task.fds.cloexec", name: "off", find: `17:\d+: .*fd 7: file "more.r": cloexec: described true, real false`, change: calls("root", unix.SYS_FCNTL, 7, unix.F_SETFD, 0)},
	{key: "task.fds.cloexec", name: "on", find: `17:\d+: .*fd 0: file "null": cloexec: described false, real true`, change: calls("root", unix.SYS_FCNTL, 0, unix.F_SETFD, unix.FD_CLOEXEC)},
	{key: "task.children", name: "one has ended", find: `23:\d+: task "exact" .*described a task that holds, real it has ended`, change: func(t *testing.T, pids map[string]int) {
		end(t, pids["exact"])
	}},
	{key: "task.children", name: "one is missing", find: `23:\d+: task "exact": described a child of task "root" .*, real no such child`, restored: []string{
		"      - name: exact\n        pid: $PID\n        fds: {3: log, 9: more.w}\n", "",
	}},
	{key: "task.children", name: "one more", find: `23:\d+: task "exact" .*children: described no further child, real "exact"`, change: calls("exact", unix.SYS_CLONE, uint64(unix.SIGCHLD))},
	{key: "task.children", name: "below another parent", find: `23:\d+: task "exact" .*children: described no further child, real "sharer"`, restored: []string{
		"fds: {3: log, 9: more.w}\n      - name: sharer\n        shares: {files: root}\n",
		"fds: {3: log, 9: more.w}\n        children: [{name: sharer, shares: {files: root}}]\n",
	}},
	{key: "task.cwd", find: `18:\d+: task "root" .*cwd: described "/usr", real "/"`, change: func(t *testing.T, pids map[string]int) {
		root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(root)
		give(t, pids["root"], root, 100)
		calls("root", unix.SYS_FCHDIR, 100)(t, pids)
		calls("root", unix.SYS_CLOSE, 100)(t, pids)
	}},
	{key: "task.umask", find: `19:\d+: task "root" .*umask: described 027, real 022`, change: calls("root", unix.SYS_UMASK, 0o22)},
	{key: "task.nice", find: `20:\d+: task "root" .*nice: described 3, real 7`, change: func(t *testing.T, pids map[string]int) {
		if err := unix.Setpriority(unix.PRIO_PROCESS, pids["root"], 7); err != nil {
			t.Fatal(err)
		}
	}},
	{key: "task.cloexec", find: `17:\d+: .*file "more.r": cloexec: described true, real false`, change: calls("root", unix.SYS_FCNTL, 7, unix.F_SETFD, 0)},
	{key: "task.shares.files", name: "left", find: `27:\d+: task "sharer" .*shares.files: described the descriptor table of task "root", real another one`, change: calls("sharer", unix.SYS_UNSHARE, unix.CLONE_FILES)},
	{key: "task.shares.files", name: "shared", find: `23:\d+: task "exact" .*shares.files: described a descriptor table of its own, real that of "root"`, restored: []string{
		"        fds: {3: log, 9: more.w}\n", "        shares: {files: root}\n", ", 8: dir, 10: ev, 11: sigs, 12: mem, 13: hole, 14: ro}", ", 8: dir, 10: ev, 11: sigs, 12: mem, 13: hole, 14: ro, 9: more.w}",
	}},
	{key: "task.run", level: "exact", find: `30:\d+: task "program" .*run\[0\]: described "sh", real "sleep"`, change: func(*testing.T, map[string]int) {}},
	{key: "task.env", level: "exact", find: `31:\d+: task "program" .*env.A: described "one", real "two"`, restored: []string{"{A: one}", "{A: two}"}},
	{key: "task.env", name: "one more", level: "exact", find: `28:\d+: task "program" .*env.B: described nothing, real "two"`, restored: []string{"{A: one}", "{A: one, B: two}"}},
	{key: "task.env_clear", level: "exact", find: `28:\d+: task "program" .*env.PATH: described nothing`, restored: []string{"env_clear: true", "env_clear: false"}},

	{key: "file.type", find: `25:\d+: .*fd 9: file "more.w": type: described pipe, real .*/data`, restored: []string{"9: more.w}", "9: other}", "  dir:", "  other: {type: reg, path: data}\n  dir:"}},
	{key: "reg.path", find: `5:\d+: .*file "data": path: described ".*/data", real ".*/log"`, restored: []string{"path: data", "path: log"}},
	{key: "reg.path", name: "removed", find: `5:\d+: .*file "data": path: described ".*/data", real ".*/data \(deleted\)"`, change: func(t *testing.T, pids map[string]int) {
		removeOf(t, pids["root"], 4)
	}},
	{key: "reg.flags", find: `4:\d+: .*file "log": flags: described \[O_RDWR, O_APPEND\], real \[O_RDWR, O_APPEND, O_NONBLOCK\]`, change: changes("root", 3, setFlags(unix.O_APPEND|unix.O_NONBLOCK))},
	{key: "reg.flags", name: "the access mode", find: `5:\d+: .*file "data": flags: described \[O_RDWR\], real \[O_WRONLY\]`, restored: []string{"flags: [O_RDWR, O_CREAT], offset: 7", "flags: [O_WRONLY, O_CREAT], offset: 7"}},
	{key: "reg.flags", name: "no flags any more", find: `4:\d+: .*file "log": flags: described .*O_APPEND.*, real \[O_RDWR\]`, change: changes("root", 3, setFlags(0))},
	{key: "reg.offset", find: `5:\d+: .*file "data": offset: described 7, real 8`, change: changes("root", 4, seek(8))},
	{key: "reg.offset", name: "which is not said", find: `9:\d+: .*file "dir": offset: described 0, real `, change: changes("root", 8, seek(3))},
	{key: "pipe.capacity", find: `7:\d+: .*file "pipe": capacity: described 65536, real 4096`, change: changes("root", 6, func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, 4096)
		return err
	})},
	{key: "pipe.content", find: `7:\d+: .*file "pipe": content: described "abc", real "bc"`, change: changes("root", 5, takes(1))},
	{key: "pipe.content", name: "more", find: `7:\d+: .*file "pipe": content: described "abc", real "abcd"`, change: changes("root", 6, sends("d"))},
	{key: "pipe.content", name: "none", find: `7:\d+: .*file "pipe": content: described "abc", real ""`, change: changes("root", 5, takes(3))},
	{key: "pipe.content", name: "which is not said", find: `8:\d+: .*file "more": content: described "", real "x"`, change: changes("exact", 9, sends("x"))},
	{key: "pipe.flags.r", find: `7:\d+: .*file "pipe": flags.r: described \[O_NONBLOCK\], real \[\]`, change: changes("root", 5, setFlags(0))},
	{key: "pipe.flags.w", find: `7:\d+: .*file "pipe": flags.w: described \[O_DIRECT\], real \[O_NONBLOCK, O_DIRECT\]`, change: changes("root", 6, setFlags(unix.O_DIRECT|unix.O_NONBLOCK))},
	{key: "pipe.flags.w", name: "which are not said", find: `8:\d+: .*file "more": flags.w: described \[\], real \[O_NONBLOCK\]`, change: changes("exact", 9, setFlags(unix.O_NONBLOCK))},
	{key: "eventfd.counter", find: `10:\d+: .*file "ev": counter: described 5, real 9`, change: changes("root", 10, sends("\x04\x00\x00\x00\x00\x00\x00\x00"))},
	{key: "eventfd.counter", name: "taken", find: `10:\d+: .*file "ev": counter: described 5, real 0`, change: changes("root", 10, takes(8))},
	{key: "eventfd.semaphore", find: `10:\d+: .*file "ev": semaphore: described false, real true`, restored: []string{"counter: 5,", "counter: 5, semaphore: true,"}, since: "6.12"},
	{key: "eventfd.flags", find: `10:\d+: .*file "ev": flags: described \[O_NONBLOCK\], real \[\]`, change: changes("root", 10, setFlags(0))},
	{key: "signalfd.signals", find: `11:\d+: .*file "sigs": signals: described \[SIGUSR1, SIGTERM\], real \[SIGUSR1, SIGUSR2\]`, change: changes("root", 11, func(fd int) error {
		_, err := unix.Signalfd(fd, &unix.Sigset_t{Val: [16]uint64{1<<(unix.SIGUSR1-1) | 1<<(unix.SIGUSR2-1)}}, 0)
		return err
	})},
	{key: "signalfd.signals", name: "none any more", find: `11:\d+: .*file "sigs": signals: described \[SIGUSR1, SIGTERM\], real \[\]`, change: changes("root", 11, func(fd int) error {
		_, err := unix.Signalfd(fd, &unix.Sigset_t{}, 0)
		return err
	})},
	{key: "signalfd.flags", find: `11:\d+: .*file "sigs": flags: described \[\], real \[O_NONBLOCK\]`, change: changes("root", 11, setFlags(unix.O_NONBLOCK))},
	{key: "memfd.name", find: `12:\d+: .*file "mem": name: described "m", real "n"`, restored: []string{"name: m,", "name: n,"}},
	{key: "memfd.size", find: `12:\d+: .*file "mem": size: described 20000, real 9004`, change: changes("root", 12, func(fd int) error { return unix.Ftruncate(fd, 9004) })},
	{key: "memfd.content", find: `12:\d+: .*file "mem": content.0: described "hello", real "hallo"`, change: changes("root", 12, pwrites("a", 1))},
	{key: "memfd.content", name: "one piece more", find: `12:\d+: .*file "mem": content.15000: described nothing, real "x"`, change: changes("root", 12, pwrites("x", 15000))},
	{key: "memfd.content", name: "zeros in place of a hole", find: `12:\d+: .*file "mem": content.16384: described nothing, real "\\x00"`, change: changes("root", 12, pwrites("\x00", 16385))},
	{key: "memfd.content", name: "a hole in its place", find: `12:\d+: .*file "mem": content.9000: described "tail", real nothing`, change: changes("root", 12, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 8192, 4096)
	})},
	{key: "memfd.content", name: "where there was none", find: `13:\d+: .*file "hole": content.4: described nothing, real "x"`, change: changes("root", 13, func(fd int) error {
		copied, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_CLOEXEC, 0) // without O_APPEND
		if err != nil {
			return err
		}
		defer unix.Close(copied)
		return pwrites("x", 4)(copied)
	})},
	{key: "memfd.seals", find: `12:\d+: .*file "mem": seals: described \[F_SEAL_GROW\], real \[F_SEAL_SHRINK, F_SEAL_GROW\]`, change: changes("root", 12, func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
		return err
	})},
	{key: "memfd.seals", name: "it can be sealed", find: `13:\d+: .*file "hole": seals: described \[F_SEAL_SEAL\], real \[\]`, restored: []string{`content: "",`, `content: "", seals: [],`}},
	{key: "memfd.hugetlb", find: `13:\d+: .*file "hole": hugetlb: described 0, real 2097152`, restored: []string{"size: 8192,", "hugetlb: 2MiB,"}},
	{key: "memfd.owner", find: `12:\d+: .*file "mem": owner\[0\]: described 0, real 7`, change: changes("root", 12, func(fd int) error { return unix.Fchown(fd, 7, 5) })},
	{key: "memfd.owner", name: "the group", find: `12:\d+: .*file "mem": owner\[1\]: described 5, real 6`, change: changes("root", 12, func(fd int) error { return unix.Fchown(fd, 0, 6) })},
	{key: "memfd.mode", find: `12:\d+: .*file "mem": mode: described 0640, real 0600`, change: changes("root", 12, func(fd int) error { return unix.Fchmod(fd, 0o600) })},
	{key: "memfd.mode", name: "which is not said", find: `13:\d+: .*file "hole": mode: described 0777, real 0600`, change: changes("root", 13, func(fd int) error { return unix.Fchmod(fd, 0o600) })},
	{key: "memfd.atime", find: `12:\d+: .*file "mem": atime: described "1970-01-01T00:01:40.5Z", real "20`, change: changes("root", 12, func(fd int) error {
		_, err := unix.Pread(fd, make([]byte, 1), 0)
		return err
	})},
	{key: "memfd.mtime", find: `12:\d+: .*file "mem": mtime: described "2026-01-31T12:00:00Z", real "20`, change: changes("root", 12, pwrites("h", 0))},
	{key: "memfd.offset", find: `12:\d+: .*file "mem": offset: described 3, real 4`, change: changes("root", 12, seek(4))},
	{key: "memfd.flags", find: `13:\d+: .*file "hole": flags: described \[O_APPEND\], real \[\]`, change: changes("root", 13, setFlags(0))},
	{key: "reopen.file", find: `14:\d+: .*file "ro": file: described another open file of "mem", real one of "hole": /memfd: \(deleted\)`, restored: []string{"file: mem,", "file: hole,"}},
	{key: "reopen.file", name: "of a file of its own", find: `14:\d+: .*file "ro": file: described another open file of "mem", real /memfd:m`, restored: []string{"file: mem,", "file: other,", "  ro: ", "  other: {type: memfd, name: m, size: 20000, content: {0: hello, 9000: tail}}\n  ro: "}},
	{key: "reopen.file", name: "of another kind", find: `17:\d+: .*file "ro": type: described memfd, real .*/data`, restored: []string{"file: mem,", "file: data,"}},
	{key: "reopen.file", name: "the first one is opened again", find: `17:\d+: .*file "hole": described another one than file "mem", real the same one`, restored: []string{"{type: memfd, size: 8192, content: \"\", flags: [O_APPEND]}", "{type: reopen, file: mem, flags: [O_RDWR, O_APPEND]}"}},
	{key: "reopen.flags", find: `14:\d+: .*file "ro": flags: described \[O_NONBLOCK\], real \[O_RDONLY\]`, change: changes("root", 14, setFlags(0))},
	{key: "reopen.flags", name: "the access mode", find: `14:\d+: .*file "ro": flags: described \[O_NONBLOCK\], real \[O_RDWR, O_NONBLOCK\]`, restored: []string{"[O_RDONLY, O_NONBLOCK], offset: 5", "[O_RDWR, O_NONBLOCK], offset: 5"}},
	{key: "reopen.offset", find: `14:\d+: .*file "ro": offset: described 5, real 6`, change: changes("root", 14, seek(6))},
	{key: "memfd.offset", name: "of the first of two", find: `12:\d+: .*file "mem": offset: described 3, real 5`, change: changes("root", 12, seek(5))},
}

// readable returns the address of memory that a task can read.
func readable(t *testing.T, pid int) uint64 {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		var start, end uint64
		var rights string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &start, &end, &rights); err == nil && rights[0] == 'r' {
			return start
		}
	}
	t.Fatalf("process %d can read nothing:\n%s", pid, maps)
	return 0
}

// end kills a task, and waits until it is a zombie: its parent holds and does not reap it.
func end(t *testing.T, pid int) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, int(patience.Milliseconds())); n != 1 {
		t.Fatalf("it has not ended: %v", err)
	}
}

// give installs an open file of the test at a number of a task, by a pidfd_getfd in the
// task.
func give(t *testing.T, pid, fd, number int) {
	t.Helper()
	pidfd := inject(t, pid, unix.SYS_PIDFD_OPEN, uint64(os.Getpid()), 0)
	if pidfd < 0 {
		t.Fatalf("pidfd_open: %v", unix.Errno(-pidfd))
	}
	got := inject(t, pid, unix.SYS_PIDFD_GETFD, uint64(pidfd), uint64(fd), 0)
	if got < 0 {
		t.Fatalf("pidfd_getfd: %v", unix.Errno(-got))
	}
	for _, c := range [][4]uint64{{unix.SYS_DUP3, uint64(got), uint64(number), 0}, {unix.SYS_CLOSE, uint64(got)}, {unix.SYS_CLOSE, uint64(pidfd)}} {
		if r := inject(t, pid, uintptr(c[0]), c[1:]...); r < 0 {
			t.Fatalf("call %d: %v", c[0], unix.Errno(-r))
		}
	}
}

// removeOf removes the file of a descriptor.
func removeOf(t *testing.T, pid, fd int) {
	t.Helper()
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// notMutated are the keys that do not describe the live tree, each with the reason.
var notMutated = map[string]string{
	"document.version": "the form of the description",
	"document.expect":  "for regrow conflicts",
	"document.caller":  "for regrow conflicts",
	"inherit.key":      "what the caller has given, whatever that is",
	"reg.mode":         "permissions of a file when it is made",
	"reg.content":      "what a file holds when it is made",
}

// declared lists all keys of the declaration.
func declared() (keys []string) {
	add := func(of string, data schema.Fielder) {
		for _, list := range [][]string{schema.Keys(data), schema.Compared(data)} {
			for _, key := range list {
				if key = of + "." + key; !slices.Contains(keys, key) {
					keys = append(keys, key)
				}
			}
		}
	}
	add("document", images.TreeFields(&tasktree.Tree{}))
	add("task", images.TaskFields(&tasktree.Task{}))
	for _, key := range schema.Compared(images.TaskFields(&tasktree.Task{FDs: []tasktree.Descriptor{{}}})) {
		if inner, ok := strings.CutPrefix(key, "fds.0."); ok {
			keys = append(keys, "task.fds."+inner)
		}
	}
	for _, name := range kind.Names() {
		k, _ := kind.Lookup(name)
		add(name, k.New())
	}
	return append(keys, "file.type")
}

// TestEveryKeyIsMutated checks that every key has a mutation, or a reason for having none.
// Keys of expect have none: they were true before the restore and are not compared.
func TestEveryKeyIsMutated(t *testing.T) {
	keys := declared()
	for _, key := range keys {
		prefix := key + "."
		covered := notMutated[key] != "" || strings.Contains(key, ".expect") || strings.HasPrefix(key, "document.caller.") || slices.ContainsFunc(mutations, func(m mutation) bool { return m.key == key || strings.HasPrefix(m.key, prefix) })
		if !covered {
			t.Errorf("no mutation changes %s: regrow verify may not see it", key)
		}
	}
	for _, m := range mutations {
		if !slices.Contains(keys, m.key) {
			t.Errorf("%s is not a key", m.key)
		}
	}
	t.Logf("%d keys, %d mutations", len(keys), len(mutations))
}

// TestMutations changes a live tree in each way and checks that regrow verify reports the
// difference with its line, and no difference before.
func TestMutations(t *testing.T) {
	needRoot(t)
	for _, m := range mutations {
		name := m.key
		if m.name != "" {
			name += ": " + m.name
		}
		t.Run(name, func(t *testing.T) {
			if m.change != nil && !canInject {
				need(t, "calls that are injected: amd64")
			}
			dir := t.TempDir()
			for _, file := range []string{"log", "data"} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte("0123456789"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			described := cmp.Or(m.in, mutated)
			text := strings.ReplaceAll(described, "$PID", fmt.Sprint(freePID(t)))
			live := described
			if m.restored != nil {
				live = strings.NewReplacer(m.restored...).Replace(live)
				if live == described {
					t.Fatal("the mutation did not change the description")
				}
			}
			live = strings.ReplaceAll(live, "$PID", fmt.Sprint(freePID(t)))
			path, from := filepath.Join(dir, "tree.yaml"), filepath.Join(dir, "live.yaml")
			for path, text := range map[string]string{path: text, from: live} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			rep := report(t, run(t, "restore", "-d", "--json", from))
			defer endTree(t)
			pids := pidsOf(rep)
			if pid := pids["program"]; pid > 0 {
				becomes(t, pid, "sleep")
			}
			if status, out := verify(t, from, rep.Tasks[0].HostPID, "--level", "state"); status != 0 {
				t.Fatalf("before: status %d:\n%s", status, out)
			}
			if m.change != nil {
				m.change(t, pids)
			}
			var flags []string
			if m.level != "" {
				flags = []string{"--level", m.level}
			}
			status, out := verify(t, path, rep.Tasks[0].HostPID, flags...)
			want := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(path) + `:(` + m.find + `)`)
			if m.since != "" && olderThan(t, m.since) {
				const hidden = "this kernel does not show it"
				if status, out = verify(t, path, rep.Tasks[0].HostPID, "--json"); status != 0 || !strings.Contains(out, hidden) {
					t.Errorf("status %d, want 0 and %q:\n%s", status, hidden, out)
				}
				return
			}
			if m.find != "" && (status != 1 || !want.MatchString(out)) {
				t.Errorf("status %d, want a difference %s:\n%s", status, m.find, out)
			}
		})
	}
}

// becomes waits until a process has executed another program.
func becomes(t *testing.T, pid int, comm string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if is, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || strings.TrimSpace(string(is)) == comm {
			return
		}
	}
	t.Fatalf("process %d does not become %s", pid, comm)
}

func pidsOf(rep restore.Report) map[string]int {
	pids := map[string]int{}
	for _, task := range rep.Tasks {
		pids[task.Name] = task.HostPID
	}
	return pids
}
