package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// dataOf lists where a file has data, by SEEK_DATA and SEEK_HOLE, and what there is.
func dataOf(t *testing.T, fd int) (parts [][2]int64, text string) {
	t.Helper()
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(again)
	for at := int64(0); ; {
		from, err := unix.Seek(again, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return parts, text
		}
		to, err2 := unix.Seek(again, from, unix.SEEK_HOLE)
		room := make([]byte, to-from)
		_, err3 := unix.Pread(again, room, from)
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		parts, text = append(parts, [2]int64{from, to}), text+strings.Trim(string(room), "\x00")
		at = to
	}
}

// TestRegMade holds what the kernel says of files that a restore makes.
func TestRegMade(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		keys     string
		flags    int
		mode     uint32
		uid, gid uint32
		size     int64
		parts    [][2]int64
		text     string
		links    uint64
		deleted  bool
		offset   int64
	}{
		{
			keys: "flags: [O_RDWR], unlinked: true, size: 1MiB, content: {0: hello, 1048572: tail}, owner: [1000, 1001], mode: 04755, offset: 7", flags: unix.O_RDWR,
			mode: unix.S_IFREG | 0o4755, uid: 1000, gid: 1001, size: 1 << 20, parts: [][2]int64{{0, 4096}, {1<<20 - 4096, 1 << 20}}, text: "hellotail", deleted: true, offset: 7,
		},
		{keys: "unlinked: true, mode: 0, content: abc", mode: unix.S_IFREG, size: 3, parts: [][2]int64{{0, 3}}, text: "abc", deleted: true},
		{keys: "flags: [O_WRONLY, O_APPEND], unlinked: true, size: 8KiB", flags: unix.O_WRONLY | unix.O_APPEND, mode: unix.S_IFREG | 0o644, size: 8192, deleted: true},
		{keys: "flags: [O_RDWR, O_CREAT], content: {4096: x}, links: [other, more]", flags: unix.O_RDWR, mode: unix.S_IFREG | 0o644, size: 4097, parts: [][2]int64{{4096, 4097}}, text: "x", links: 3},
		{keys: "flags: [O_RDWR], unlinked: true, content: x, links: [other]", flags: unix.O_RDWR, mode: unix.S_IFREG | 0o644, size: 1, parts: [][2]int64{{0, 1}}, text: "x", links: 1, deleted: true},
		{keys: "flags: [O_DIRECTORY], unlinked: true, owner: 7, mode: 01700", flags: unix.O_DIRECTORY, mode: unix.S_IFDIR | 0o1700, uid: 7, size: -1, deleted: true},
	} {
		for _, second := range []string{"", ", children: [{name: b, fds: {9: f}}]"} {
			path := write(t, "version: 1\nfiles:\n  f: {type: reg, path: f, atime: 1.5, mtime: 2026-01-31T12:00:00.25Z, "+c.keys+"}\ntasks: [{name: a, fds: {5: f}"+second+"}]\n")
			pid := detached(t, path).Tasks[0].HostPID
			fd := copyOf(t, pid, 5)
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				t.Fatal(err)
			}
			if st.Mode != c.mode || st.Uid != c.uid || st.Gid != c.gid || c.size >= 0 && st.Size != c.size || uint64(st.Nlink) != c.links { //nolint:unconvert // 32 bits on arm64
				t.Errorf("%s: mode %#o, owner %d, %d, %d bytes, %d links", c.keys, st.Mode, st.Uid, st.Gid, st.Size, st.Nlink)
			}
			if at, mt := st.Atim, st.Mtim; at.Sec != 1 || at.Nsec != 500_000_000 || mt.Sec != 1769860800 || mt.Nsec != 250_000_000 {
				t.Errorf("%s: read at %v, written at %v", c.keys, at, mt)
			}
			if got := statusFlags(t, fd); got != c.flags {
				t.Errorf("%s: flags %#o", c.keys, got)
			}
			if at, err := unix.Seek(fd, 0, unix.SEEK_CUR); err != nil || at != c.offset {
				t.Errorf("%s: offset %d: %v", c.keys, at, err)
			}
			file := filepath.Join(filepath.Dir(path), "f")
			if _, err := os.Lstat(file); errors.Is(err, os.ErrNotExist) != c.deleted {
				t.Errorf("%s: the path: %v", c.keys, err)
			}
			if c.deleted {
				file += " (deleted)"
			}
			if link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/5", pid)); err != nil || link != file {
				t.Errorf("%s: it is %s: %v", c.keys, link, err)
			}
			if c.size >= 0 {
				parts, text := dataOf(t, fd)
				if !slices.Equal(parts, c.parts) || text != c.text {
					t.Errorf("%s: data at %v: %q", c.keys, parts, text)
				}
			}
		}
	}
}

// TestTmpfile holds that O_TMPFILE stays among the flags, which is all that is left to
// see of it.
func TestTmpfile(t *testing.T) {
	needRoot(t)
	path := write(t, "version: 1\nfiles:\n  f: {type: reg, path: ., flags: [O_RDWR, O_TMPFILE], mode: 0640, content: {1: b}, owner: 5}\ntasks: [{name: a, fds: {5: f}, children: [{name: b, fds: {9: f}}]}]\n")
	rep := detached(t, path)
	fd := copyOf(t, rep.Tasks[1].HostPID, 9)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink != 0 || st.Mode != unix.S_IFREG|0o640 || st.Uid != 5 || st.Size != 2 {
		t.Errorf("%+v, %v", st, err)
	}
	if got := statusFlags(t, fd); got != unix.O_RDWR|unix.O_TMPFILE {
		t.Errorf("flags %#o", got)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("in the folder are %v: %v", entries, err)
	}
	link := filepath.Join(filepath.Dir(path), "name")
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, link, unix.AT_SYMLINK_FOLLOW); err != nil {
		t.Errorf("it cannot get a name: %v", err)
	}
}

// TestRegMadeIsRemoved holds that nothing is left of files, folders and links that a
// restore had made before it failed.
func TestRegMadeIsRemoved(t *testing.T) {
	needRoot(t)
	path := write(t, `version: 1
files:
  made: {type: reg, path: made, flags: [O_RDWR, O_CREAT], size: 10, owner: 5, mode: 0, links: [link]}
  gone: {type: reg, path: gone, flags: [O_RDWR], unlinked: true, content: {5: x}}
  dir:  {type: reg, path: dir, flags: [O_DIRECTORY], unlinked: true}
  taken: {type: reg, path: taken, flags: [O_RDWR], unlinked: true}
tasks: [{name: a, fds: {1: made, 2: gone, 3: dir, 4: taken}}]
`)
	dir := filepath.Dir(path)
	if err := os.WriteFile(filepath.Join(dir, "taken"), []byte("mine"), 0o604); err != nil {
		t.Fatal(err)
	}
	res := run(t, "restore", "-d", path)
	if res.status != 1 || !strings.Contains(res.errors, ":6:28: restore:") || !strings.Contains(res.errors, "file exists") {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left are %v: %v", entries, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "taken")); err != nil || string(text) != "mine" {
		t.Errorf("the file of others has %q: %v", text, err)
	}
	noDescendants(t)
}

const mutatedRegs = `version: 1
files:
  made: {type: reg, path: made, flags: [O_RDWR, O_CREAT], content: {5: x}, size: 10, owner: [5, 6], mode: 0640, atime: 1, mtime: 2}
  gone: {type: reg, path: gone, flags: [O_RDWR], unlinked: true, content: abc}
tasks: [{name: root, fds: {5: made, 6: gone}}]
`

func init() {
	chown := func(uid, gid int) func(int) error { return func(fd int) error { return unix.Fchown(fd, uid, gid) } }
	times := func(atime, mtime int64) func(int) error {
		return func(fd int) error { return unix.Futimes(fd, []unix.Timeval{{Sec: atime}, {Sec: mtime}}) }
	}
	for _, m := range []mutation{
		{key: "reg.size", find: `3:\d+: .*file "made": size: described 10, real 11`, change: changes("root", 5, func(fd int) error { return unix.Ftruncate(fd, 11) })},
		{key: "reg.size", name: "of the content", find: `4:\d+: .*file "gone": size: described 3, real 0`, change: changes("root", 6, func(fd int) error { return unix.Ftruncate(fd, 0) })},
		{key: "reg.owner", find: `3:\d+: .*file "made": owner\[0\]: described 5, real 7`, change: changes("root", 5, chown(7, -1))},
		{key: "reg.owner", name: "the group", find: `3:\d+: .*file "made": owner\[1\]: described 6, real 7`, change: changes("root", 5, chown(-1, 7))},
		{key: "reg.mode", find: `3:\d+: .*file "made": mode: described 0640, real 0600`, change: changes("root", 5, func(fd int) error { return unix.Fchmod(fd, 0o600) })},
		{key: "reg.mode", name: "which is not said", find: `4:\d+: .*file "gone": mode: described 0644, real 0600`, change: changes("root", 6, func(fd int) error { return unix.Fchmod(fd, 0o600) })},
		{key: "reg.atime", find: `3:\d+: .*file "made": atime: described "1970-01-01T00:00:01Z", real "1970-01-01T00:00:03Z"`, change: changes("root", 5, times(3, 2))},
		{key: "reg.mtime", find: `3:\d+: .*file "made": mtime: described "1970-01-01T00:00:02Z", real "1970-01-01T00:00:03Z"`, change: changes("root", 5, times(1, 3))},
		{key: "reg.path", name: "removed, and described so", find: `4:\d+: .*file "gone": path: described ".*/gone \(deleted\)", real ".*/gone"`, restored: []string{"[O_RDWR], unlinked: true", "[O_RDWR, O_CREAT]"}},
	} {
		m.in = mutatedRegs
		mutations = append(mutations, m)
	}
	delete(notMutated, "reg.mode")
	notMutated["reg.content"] = "a regular file is not copied: its server may be silent. Its size and times are compared"
	notMutated["reg.unlinked"] = "the path shows it"
	notMutated["reg.links"] = "other paths of a file are not searched"
}
