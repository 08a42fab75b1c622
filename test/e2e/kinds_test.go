package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/images"
	"regrow/restore"
	"regrow/tasktree/kind"
)

// exampleTree gives the example of a kind as a tree of two tasks that have all of its open
// files, at different numbers, and the numbers by name.
func exampleTree(t *testing.T, k kind.Kind) (text string, first, second map[string]int) {
	t.Helper()
	files := "version: 1\nfiles:\n"
	for line := range strings.Lines(k.Example) {
		files += "  " + line
	}
	tree, err := images.Decode(strings.NewReader(files+"tasks: [{name: root}]\n"), k.Name, "")
	if err != nil {
		t.Fatal(err)
	}
	first, second = map[string]int{}, map[string]int{}
	var here, there []string
	for _, f := range tree.Files {
		for end := range max(1, len(f.Spec.Ends())) {
			name := f.EndName(end)
			first[name], second[name] = 3+len(here), 200-7*len(here)
			here = append(here, fmt.Sprintf("%d: %s", first[name], name))
			there = append(there, fmt.Sprintf("%d: {file: %s, cloexec: true}", second[name], name))
		}
	}
	return fmt.Sprintf("%stasks:\n  - name: first\n    fds: {%s}\n    children:\n      - name: second\n        fds: {%s}\n",
		files, strings.Join(here, ", "), strings.Join(there, ", ")), first, second
}

// TestExamplesOfKinds restores the example of each kind in two tasks, with each strategy,
// and holds by kcmp that each open file is one, and by regrow verify that each key is as
// described.
func TestExamplesOfKinds(t *testing.T) {
	needRoot(t)
	for _, name := range kind.Names() {
		k, _ := kind.Lookup(name)
		if k.Example == "" {
			continue
		}
		for _, strategy := range restore.Strategies() {
			t.Run(name+"/"+strategy.String(), func(t *testing.T) {
				text, first, second := exampleTree(t, k)
				rep := detached(t, write(t, text), "--strategy", strategy.String())
				one, two := rep.Tasks[0].HostPID, rep.Tasks[1].HostPID
				for name, fd := range first {
					if same, err := sameFile(one, fd, two, second[name]); err != nil || !same {
						t.Errorf("%s: fd %d of the first task is not fd %d of the second: %v", name, fd, second[name], err)
					}
					for other, there := range second {
						if same, err := sameFile(one, fd, two, there); other != name && (err != nil || same) {
							t.Errorf("%s is the open file of %s: %v", name, other, err)
						}
					}
				}
			})
		}
	}
}

// TestExamplesByUsers restores the examples of kinds as users without privileges.
func TestExamplesByUsers(t *testing.T) {
	for _, u := range users(t) {
		if u.id == 0 {
			continue
		}
		for _, name := range kind.Names() {
			k, _ := kind.Lookup(name)
			if k.Example == "" {
				continue
			}
			t.Run(name+" by "+u.name, func(t *testing.T) {
				text, first, second := exampleTree(t, k)
				path := save(t, openFolder(t), text)
				rep := report(t, wait(t, start(t, u.shell, "restore", "-d", "--json", path)))
				defer endTree(t)
				for name, fd := range first {
					if same, err := sameFile(rep.Tasks[0].HostPID, fd, rep.Tasks[1].HostPID, second[name]); err != nil || !same {
						t.Errorf("%s is not one open file: %v", name, err)
					}
				}
				verifyRight(t, path, rep)
			})
		}
	}
}

// openFileOf restores a tree of one task that holds, with one open file at 5, and gives
// the task's pid and a copy of the descriptor.
func openFileOf(t *testing.T, files, name string) (pid, fd int) {
	t.Helper()
	rep := detached(t, write(t, "version: 1\nfiles:\n"+files+"\ntasks: [{name: a, fds: {5: "+name+"}}]\n"))
	pid = rep.Tasks[0].HostPID
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if fd, err = unix.PidfdGetfd(pidfd, 5, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return pid, fd
}

// statusFlags are the flags of an open file, without those that the kernel adds.
func statusFlags(t *testing.T, fd int) int {
	t.Helper()
	const large = 0o100000
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags &^ large
}

func readNumber(fd int) (uint64, error) {
	var b [8]byte
	n, err := unix.Read(fd, b[:])
	if err == nil && n != len(b) {
		err = fmt.Errorf("%d bytes", n)
	}
	return binary.NativeEndian.Uint64(b[:]), err
}

// TestEventfd holds what the kernel says of a restored eventfd, and what a read takes.
func TestEventfd(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		keys    string
		counter uint64
		flags   int
	}{
		{"", 0, 0},
		{", counter: 7", 7, 0},
		{", counter: 4294967295, flags: [O_NONBLOCK]", 1<<32 - 1, unix.O_NONBLOCK},
		{", counter: 4294967296, flags: [O_APPEND, O_NOATIME]", 1 << 32, unix.O_APPEND | unix.O_NOATIME},
		{", counter: 18446744073709551614", 1<<64 - 2, 0},
	} {
		t.Run("an eventfd"+c.keys, func(t *testing.T) {
			pid, fd := openFileOf(t, "  e: {type: eventfd"+c.keys+"}", "e")
			info, err := fdinfo(pid, 5)
			if err != nil {
				t.Fatal(err)
			}
			if got := info["eventfd-count"]; got != fmt.Sprintf("%x", c.counter) {
				t.Errorf("the kernel shows %s in it, want %x", got, c.counter)
			}
			if got := statusFlags(t, fd) &^ unix.O_RDWR; got != c.flags {
				t.Errorf("flags %#o, want %#o", got, c.flags)
			}
			if err := unix.SetNonblock(fd, true); err != nil {
				t.Fatal(err)
			}
			got, err := readNumber(fd)
			if c.counter == 0 && !errors.Is(err, unix.EAGAIN) || c.counter > 0 && (err != nil || got != c.counter) {
				t.Errorf("read %d, %v, want %d", got, err, c.counter)
			}
		})
	}
}

// TestSemaphore holds that reads of a restored semaphore take 1, as often as there is
// one: what CRIU 4.2 loses.
func TestSemaphore(t *testing.T) {
	needRoot(t)
	_, fd := openFileOf(t, "  e: {type: eventfd, counter: 3, semaphore: true, flags: [O_NONBLOCK]}", "e")
	for i := range 3 {
		if got, err := readNumber(fd); err != nil || got != 1 {
			t.Errorf("read %d gives %d, %v", i, got, err)
		}
	}
	if _, err := readNumber(fd); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("a fourth read: %v", err)
	}
}

// usesEnv makes the test binary a program that uses what it has been given as 3.
const usesEnv = "REGROW_TEST_USES"

func use(what string, _ []string) error {
	const given = 3
	switch what {
	case "signalfd":
		return useSignals(given)
	case "listener":
		return useListener(given)
	case "datagrams":
		return useDatagrams(given)
	default:
		return fmt.Errorf("unknown use %q", what)
	}
}

// useDatagrams says what it receives, until nothing waits.
func useDatagrams(fd int) error {
	for {
		data, rights := make([]byte, 100), make([]byte, unix.CmsgSpace(4*10))
		n, oobn, _, _, err := unix.Recvmsg(fd, data, rights, unix.MSG_DONTWAIT)
		if err != nil {
			return nil //nolint:nilerr // nothing waits
		}
		files := 0
		if messages, err := unix.ParseSocketControlMessage(rights[:oobn]); err == nil && len(messages) == 1 {
			fds, _ := unix.ParseUnixRights(&messages[0])
			files = len(fds)
		}
		fmt.Printf("%q %d files\n", data[:n], files)
	}
}

// useListener accepts a connection, and says what has been sent over it.
func useListener(fd int) error {
	c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK)
	if err != nil {
		return err
	}
	data := make([]byte, 100)
	n, err := unix.Read(c, data)
	fmt.Printf("%q\n", data[:max(n, 0)])
	return err
}

// useSignals sends a thread of this process a signal that it blocks, and says what came
// out of a signalfd.
func useSignals(fd int) error {
	runtime.LockOSThread()
	mask := unix.Sigset_t{Val: [16]uint64{1 << (unix.SIGUSR1 - 1)}}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &mask, nil); err != nil {
		return err
	}
	if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGUSR1); err != nil {
		return err
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds())); n != 1 {
		return fmt.Errorf("no signal has come: %w", err)
	}
	info := make([]byte, 128) // struct signalfd_siginfo
	if n, err := unix.Read(fd, info); err != nil || n != len(info) {
		return fmt.Errorf("read %d bytes: %w", n, err)
	}
	from := "somebody else"
	if binary.NativeEndian.Uint32(info[12:]) == uint32(os.Getpid()) { // ssi_pid
		from = "itself"
	}
	fmt.Printf("%s from %s\n", unix.SignalName(unix.Signal(binary.NativeEndian.Uint32(info))), from)
	return nil
}

// TestSignalfd holds what the kernel says of a restored signalfd.
func TestSignalfd(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		keys  string
		mask  string
		flags int
	}{
		{"signals: []", "0000000000000000", 0},
		{"signals: [SIGHUP], flags: [O_NONBLOCK]", "0000000000000001", unix.O_NONBLOCK},
		{"signals: [SIGRTMAX, SIGUSR1, SIGRTMIN, SIG32], flags: [O_APPEND]", "8000000280000200", unix.O_APPEND},
	} {
		t.Run(c.keys, func(t *testing.T) {
			pid, fd := openFileOf(t, "  s: {type: signalfd, "+c.keys+"}", "s")
			info, err := fdinfo(pid, 5)
			if err != nil || info["sigmask"] != c.mask {
				t.Errorf("the kernel shows the signals %s, want %s: %v", info["sigmask"], c.mask, err)
			}
			if got := statusFlags(t, fd) &^ unix.O_RDWR; got != c.flags {
				t.Errorf("flags %#o, want %#o", got, c.flags)
			}
		})
	}
}

// memory is what the kernel says of a memory file.
type memory struct {
	link     string
	size     int64
	mode     uint32
	uid, gid uint32
	mtime    unix.Timespec
	seals    int
	flags    int
	offset   int64
	text     string // all of it, without zeros at its end
	data     [][2]int64
}

// memoryOf reads a memory file by a copy of a descriptor.
func memoryOf(t *testing.T, pid, fd int) (m memory) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Stat_t
	must(unix.Fstat(fd, &st))
	m.size, m.mode, m.uid, m.gid, m.mtime = st.Size, st.Mode&0o7777, st.Uid, st.Gid, st.Mtim
	var err error
	m.link, err = os.Readlink(fmt.Sprintf("/proc/%d/fd/5", pid))
	must(err)
	m.seals, err = unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	must(err)
	m.flags = statusFlags(t, fd)
	m.offset, err = unix.Seek(fd, 0, unix.SEEK_CUR)
	must(err)
	all := make([]byte, st.Size)
	n, err := unix.Pread(fd, all, 0)
	must(err)
	m.text = strings.TrimRight(string(all[:n]), "\x00")
	for at := int64(0); ; {
		start, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		must(err)
		at, err = unix.Seek(fd, start, unix.SEEK_HOLE)
		must(err)
		m.data = append(m.data, [2]int64{start, at})
	}
	return m
}

// TestMemfd holds what the kernel says of restored memory files: each key of the
// description by a call of its own.
func TestMemfd(t *testing.T) {
	needRoot(t)
	page := int64(os.Getpagesize())
	pid, fd := openFileOf(t, fmt.Sprintf("  m: {type: memfd, name: 'a b/c', size: %d, content: {0: hello, %d: tail}, seals: [F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_SEAL], owner: [7, 8], "+
		"mode: 04751, mtime: 2026-01-31T12:00:00.123456789Z, atime: 100, offset: 12, flags: [O_APPEND, O_NONBLOCK]}", 4*page, 2*page+1), "m")
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Atim.Sec != 100 {
		t.Errorf("it was read at %d: %v", st.Atim.Sec, err)
	}
	got := memoryOf(t, pid, fd)
	want := memory{
		link: "/memfd:a b/c (deleted)", size: 4 * page, mode: 0o4751, uid: 7, gid: 8, mtime: unix.Timespec{Sec: 1769860800, Nsec: 123456789},
		seals: unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL, flags: unix.O_RDWR | unix.O_APPEND | unix.O_NONBLOCK, offset: 12,
		text: "hello" + strings.Repeat("\x00", int(2*page-4)) + "tail", data: [][2]int64{{0, page}, {2 * page, 3 * page}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(memory{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := unix.Ftruncate(fd, page); !errors.Is(err, unix.EPERM) {
		t.Errorf("a file that is sealed against shrinking shrinks: %v", err)
	}
	if err := unix.Ftruncate(fd, 5*page); !errors.Is(err, unix.EPERM) {
		t.Errorf("a file that is sealed against growing grows: %v", err)
	}
	if _, err := unix.Pwrite(fd, []byte("H"), 4*page); !errors.Is(err, unix.EPERM) {
		t.Errorf("a file that is sealed against growing is written behind its end: %v", err)
	}
}

// TestMemfdSeals holds which seals a file has if none are said, if it can be sealed, and
// if it can never be executed.
func TestMemfdSeals(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		keys  string
		seals int
		mode  uint32
		since string
	}{
		{"", unix.F_SEAL_SEAL, 0o777, ""},
		{", seals: []", 0, 0o777, ""},
		{", seals: [F_SEAL_SEAL], mode: 0600", unix.F_SEAL_SEAL, 0o600, ""},
		{", seals: [F_SEAL_WRITE, F_SEAL_FUTURE_WRITE], content: x", unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE, 0o777, ""},
		{", seals: [F_SEAL_EXEC]", unix.F_SEAL_EXEC, 0o666, "6.3"},
		{", seals: [F_SEAL_EXEC, F_SEAL_SEAL], mode: 0640", unix.F_SEAL_EXEC | unix.F_SEAL_SEAL, 0o640, "6.3"},
		{", mode: 0755, seals: [F_SEAL_EXEC, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE]", 0x3e, 0o755, "6.3"},
	} {
		t.Run("a memfd"+c.keys, func(t *testing.T) {
			if c.since != "" && olderThan(t, c.since) {
				res := run(t, "restore", "-d", write(t, "version: 1\nfiles: {m: {type: memfd"+c.keys+"}}\ntasks: [{name: a, fds: {5: m}}]\n"))
				if res.status != 3 || !strings.Contains(res.errors, "F_SEAL_EXEC is not in this kernel") {
					t.Errorf("status %d: %s", res.status, res.errors)
				}
				return
			}
			pid, fd := openFileOf(t, "  m: {type: memfd"+c.keys+"}", "m")
			if got := memoryOf(t, pid, fd); got.seals != c.seals || got.mode != c.mode {
				t.Errorf("seals %#x, mode %#o, want %#x, %#o", got.seals, got.mode, c.seals, c.mode)
			}
			if _, err := unix.Write(fd, []byte("x")); c.seals&unix.F_SEAL_WRITE != 0 != errors.Is(err, unix.EPERM) {
				t.Errorf("written with the seals %#x: %v", c.seals, err)
			}
			_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW)
			if sealed := c.seals&unix.F_SEAL_SEAL != 0; sealed != (err != nil) {
				t.Errorf("one more seal: %v", err)
			}
		})
	}
}

// TestHugeMemfd has a memory file of huge pages, on a host that has some.
func TestHugeMemfd(t *testing.T) {
	needRoot(t)
	const huge, files = 2 << 20, "  m: {type: memfd, name: pool, size: 6MiB, hugetlb: 2MiB, content: {0: hello, 2097150: across}, offset: 2097150}"
	if os.Getenv("REGROW_TEST_VM") == "1" {
		setting(t, "vm/nr_hugepages", "4")
	}
	free, err := os.ReadFile("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
	if err != nil || strings.TrimSpace(string(free)) == "0" {
		res := run(t, "restore", "-d", write(t, "version: 1\nfiles:\n"+files+"\ntasks: [{name: a, fds: {5: m}}]\n"))
		if res.status != 3 || !strings.Contains(res.errors, ":3:53: host: file \"m\": ") || !strings.Contains(res.errors, "huge pages") {
			t.Errorf("status %d: %s", res.status, res.errors)
		}
		t.Log("this host has no huge pages: refused")
		return
	}
	pid, fd := openFileOf(t, files, "m")
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Blksize != huge || st.Size != 3*huge {
		t.Errorf("pages of %d, %d bytes: %v", st.Blksize, st.Size, err)
	}
	if link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/5", pid)); err != nil || link != "/memfd:pool (deleted)" {
		t.Errorf("it is %q: %v", link, err)
	}
	text := make([]byte, 6)
	if _, err := unix.Read(fd, text); err != nil || string(text) != "across" {
		t.Errorf("read %q: %v", text, err)
	}
}

// TestMemfdNoexec holds that a memory file is as described whatever vm.memfd_noexec says
// of those that say nothing, and why there is none if it forbids it.
func TestMemfdNoexec(t *testing.T) {
	needVM(t)
	if olderThan(t, "6.3") {
		return // it is not there
	}
	const plain, sealed = "  m: {type: memfd}", "  m: {type: memfd, seals: [F_SEAL_EXEC]}"
	for _, allows := range []string{"0", "1", "2"} {
		t.Run(allows, func(t *testing.T) {
			setting(t, "vm/memfd_noexec", allows)
			pid, fd := openFileOf(t, sealed, "m")
			if got := memoryOf(t, pid, fd); got.mode != 0o666 || got.seals != unix.F_SEAL_EXEC {
				t.Errorf("mode %#o, seals %#x", got.mode, got.seals)
			}
			endTree(t)
			if allows == "2" {
				res := run(t, "restore", "-d", write(t, "version: 1\nfiles:\n"+plain+"\ntasks: [{name: a, fds: {5: m}}]\n"))
				if res.status != 1 || !strings.Contains(res.errors, "vm.memfd_noexec=2 allows only files that can never be executed") {
					t.Errorf("status %d: %s", res.status, res.errors)
				}
				return
			}
			pid, fd = openFileOf(t, plain, "m")
			if got := memoryOf(t, pid, fd); got.mode != 0o777 || got.seals != unix.F_SEAL_SEAL {
				t.Errorf("mode %#o, seals %#x", got.mode, got.seals)
			}
		})
	}
}

// TestReopen holds, by what the kernel says of a task's descriptors, that an open file of
// an inode that another one has open is another open file of the same inode.
func TestReopen(t *testing.T) {
	needRoot(t)
	dir := openFolder(t)
	path := write(t, `version: 1
files:
  mem:  {type: memfd, content: "0123456789", mode: 0, seals: [F_SEAL_WRITE]}
  ro:   {type: reopen, file: mem, flags: [O_RDONLY, O_APPEND, O_NONBLOCK], offset: 3}
  jobs: {type: pipe, content: "job 1\n"}
  both: {type: reopen, file: jobs.r, flags: [O_RDWR, O_DIRECT, O_ASYNC]}
  tmp:  {type: reg, path: `+dir+`, flags: [O_RDWR, O_TMPFILE], mode: 0, content: text}
  more: {type: reopen, file: tmp, flags: [O_WRONLY, O_SYNC]}
  dir:  {type: reg, path: `+dir+`, flags: [O_PATH]}
  list: {type: reopen, file: dir, flags: [O_DIRECTORY]}
  gone: {type: memfd, content: of nobody}
  one:  {type: reopen, file: gone}
  two:  {type: reopen, file: gone, offset: 1}
tasks:
  - name: a
    fds: {3: mem, 4: ro, 5: jobs.r, 6: jobs.w, 7: both, 8: tmp, 9: more, 10: list, 11: one, 12: two}
    children: [{name: b, fds: {40: ro, 41: both, 42: more}}]
`)
	rep := detached(t, path)
	one, two := rep.Tasks[0].HostPID, rep.Tasks[1].HostPID
	stat := func(fd int) (st unix.Stat_t) {
		if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", one, fd), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	for _, pair := range [][2]int{{3, 4}, {5, 7}, {6, 7}, {8, 9}, {11, 12}} {
		a, b := stat(pair[0]), stat(pair[1])
		if a.Dev != b.Dev || a.Ino != b.Ino {
			t.Errorf("%v are two files", pair)
		}
		if same, err := sameFile(one, pair[0], one, pair[1]); err != nil || same {
			t.Errorf("%v are one open file: %v", pair, err)
		}
	}
	for fd, there := range map[int]int{4: 40, 7: 41, 9: 42} {
		if same, err := sameFile(one, fd, two, there); err != nil || !same {
			t.Errorf("fd %d of a is not fd %d of b: %v", fd, there, err)
		}
	}
	const large, ignored = 0o100000, unix.O_CLOEXEC
	for fd, want := range map[int]struct{ flags, offset int64 }{
		4: {unix.O_RDONLY | unix.O_APPEND | unix.O_NONBLOCK, 3}, 7: {unix.O_RDWR | unix.O_DIRECT | unix.O_ASYNC, 0}, 9: {unix.O_WRONLY | unix.O_SYNC, 0},
		10: {unix.O_DIRECTORY, 0}, 11: {0, 0}, 12: {0, 1},
	} {
		info, err := fdinfo(one, fd)
		if err != nil {
			t.Fatal(err)
		}
		flags, err := strconv.ParseInt(info["flags"], 8, 64)
		if err != nil || flags&^(large|ignored) != want.flags || info["pos"] != strconv.FormatInt(want.offset, 10) {
			t.Errorf("fd %d has the flags %#o and is at %s, want %#o, %d: %v", fd, flags, info["pos"], want.flags, want.offset, err)
		}
	}
	at(t, one, 4, func(fd int) error {
		text := make([]byte, 20)
		if n, err := unix.Read(fd, text); err != nil || string(text[:n]) != "3456789" {
			t.Errorf("read %q, %v", text[:n], err)
		}
		return nil
	})
	at(t, one, 7, func(fd int) error {
		if _, err := unix.Write(fd, []byte("job 2\n")); err != nil {
			t.Error(err)
		}
		text := make([]byte, 6)
		if n, err := unix.Read(fd, text); err != nil || string(text[:n]) != "job 1\n" {
			t.Errorf("read %q, %v", text[:n], err)
		}
		return nil
	})
}

// TestSecondLook holds that regrow finds open files of one inode as what they are, whoever
// has the lower number.
func TestSecondLook(t *testing.T) {
	needRoot(t)
	for _, fds := range []string{
		"{3: mem, 4: ro, 5: jobs.r, 6: jobs.w, 7: both}", "{3: both, 4: jobs.w, 5: jobs.r, 6: ro, 7: mem}", "{3: both, 4: jobs.r, 6: ro}", "{3: jobs.w, 4: both}",
	} {
		t.Run(fds, func(t *testing.T) {
			detached(t, write(t, `version: 1
files:
  mem:  {type: memfd, content: "0123456789", seals: [F_SEAL_WRITE], flags: [O_APPEND], offset: 9}
  ro:   {type: reopen, file: mem, offset: 3}
  jobs: {type: pipe, content: "job 1\n", flags: {r: [O_NONBLOCK], w: [O_DIRECT]}}
  both: {type: reopen, file: jobs.r, flags: [O_RDWR]}
tasks: [{name: a, fds: `+fds+`, children: [{name: b, fds: `+fds+`}]}]
`))
		})
	}
}
