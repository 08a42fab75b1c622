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

// hangsUp reports whether poll(2) says that no writer is left.
func hangsUp(t *testing.T, fd int) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 0); err != nil {
		t.Fatal(err)
	}
	return fds[0].Revents&unix.POLLHUP != 0
}

// TestFifo holds what the kernel says of the ends of a restored FIFO.
func TestFifo(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		keys    string
		ends    string // as descriptors name them
		flags   []int
		waits   []string // what reads of the first end give
		hup     bool     // of the first end
		mode    uint32
		owner   uint32
		deleted bool
	}{
		{keys: "ends: [r, w], mode: 0600", ends: "r w", flags: []int{unix.O_RDONLY, unix.O_WRONLY}, mode: 0o600},
		{
			keys: "ends: {in: r, in2: r, out: w, both: rw}, content: abc, flags: {in2: [O_NONBLOCK], both: [O_APPEND]}", ends: "in in2 out both",
			flags: []int{unix.O_RDONLY, unix.O_RDONLY | unix.O_NONBLOCK, unix.O_WRONLY, unix.O_RDWR | unix.O_APPEND}, waits: []string{"abc"}, mode: 0o644,
		},
		{keys: "ends: [r, w], mode: 0600", ends: "r", flags: []int{unix.O_RDONLY}, mode: 0o600, hup: true}, // w is closed at release
		{keys: "ends: r, mode: 0600", ends: "r", flags: []int{unix.O_RDONLY}, mode: 0o600},
		{keys: "ends: r, mode: 0600, hup: true", ends: "r", flags: []int{unix.O_RDONLY}, mode: 0o600, hup: true},
		{keys: "ends: r, content: abc", ends: "r", flags: []int{unix.O_RDONLY}, waits: []string{"abc"}, mode: 0o644},
		{keys: "ends: r, content: abc, hup: true", ends: "r", flags: []int{unix.O_RDONLY}, waits: []string{"abc"}, mode: 0o644, hup: true},
		{
			keys: "ends: [rw], packet: true, content: [p1, p22], unlinked: true, owner: 1000, mode: 0", ends: "rw", flags: []int{unix.O_RDWR | unix.O_DIRECT},
			waits: []string{"p1", "p22"}, owner: 1000, deleted: true,
		},
	} {
		for _, second := range []string{"", "shared"} {
			t.Run(c.keys+second, func(t *testing.T) {
				var fds []string
				for i, end := range strings.Fields(c.ends) {
					fds = append(fds, fmt.Sprintf("%d: f.%s", 5+i, end))
				}
				if second != "" {
					second = ", children: [{name: b, fds: {9: f." + strings.Fields(c.ends)[0] + "}}]"
				}
				path := write(t, "version: 1\nfiles:\n  f: {type: fifo, path: f, "+c.keys+"}\ntasks: [{name: a, fds: {"+strings.Join(fds, ", ")+"}"+second+"}]\n")
				pid := detached(t, path).Tasks[0].HostPID
				fifo := filepath.Join(filepath.Dir(path), "f")
				if _, err := os.Lstat(fifo); errors.Is(err, os.ErrNotExist) != c.deleted {
					t.Errorf("the path: %v", err)
				}
				for i, flags := range c.flags {
					fd := copyOf(t, pid, 5+i)
					if got := statusFlags(t, fd); got != flags {
						t.Errorf("end %d has the flags %#o, want %#o", i, got, flags)
					}
					var st unix.Stat_t
					if err := unix.Fstat(fd, &st); err != nil || st.Mode != unix.S_IFIFO|c.mode || st.Uid != c.owner {
						t.Errorf("end %d: mode %#o of user %d: %v", i, st.Mode, st.Uid, err)
					}
					want := fifo
					if c.deleted {
						want += " (deleted)"
					}
					if link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, 5+i)); err != nil || link != want {
						t.Errorf("end %d is %s: %v", i, link, err)
					}
				}
				first := copyOf(t, pid, 5)
				if got := hangsUp(t, first); got != c.hup {
					t.Errorf("POLLHUP %v, want %v", got, c.hup)
				}
				if got := takenAll(t, first); !slices.Equal(got, c.waits) {
					t.Errorf("reads give %q, want %q", got, c.waits)
				}
			})
		}
	}
}

// TestFifoThatIsThere holds that a FIFO of others is opened only where nothing waits in
// it, that it is left as it was, and that one which was made is removed.
func TestFifoThatIsThere(t *testing.T) {
	needRoot(t)
	tree := func(keys string) string {
		return write(t, "version: 1\nfiles:\n  f: {type: fifo, path: f, ends: [r, w]"+keys+"}\n  no: {type: reg, path: missing}\ntasks: [{name: a, fds: {5: f.r, 6: f.w, 7: no}}]\n")
	}
	fails := func(path, words string, status int) {
		t.Helper()
		res := run(t, "restore", "-d", path)
		if res.status != status || !strings.Contains(res.errors, words) {
			t.Errorf("status %d, want %q: %s", res.status, words, res.errors)
		}
		noDescendants(t)
	}
	path := tree(", content: abc")
	fails(path, "missing", 1)
	fifo := filepath.Join(filepath.Dir(path), "f")
	if _, err := os.Lstat(fifo); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was made is left: %v", err)
	}

	if err := unix.Mkfifo(fifo, 0o604); err != nil {
		t.Fatal(err)
	}
	fails(path, "file exists (mode, owner,", 1)
	ours, err := unix.Open(fifo, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ours)
	there := strings.Replace(path, "tree.yaml", "there.yaml", 1)
	text := "version: 1\nfiles:\n  f: {type: fifo, path: f, ends: [r, w]}\ntasks: [{name: a, fds: {5: f.r, 6: f.w}}]\n"
	if err := os.WriteFile(there, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(ours, []byte("x")); err != nil {
		t.Fatal(err)
	}
	fails(there, "bytes wait in the FIFO that is there", 1)
	if got := takenAll(t, ours); !slices.Equal(got, []string{"x"}) {
		t.Errorf("in the FIFO is %q", got)
	}
	other := write(t, "version: 1\nfiles:\n  f: {type: fifo, path: tree.yaml, ends: [r, w]}\ntasks: [{name: a, fds: {5: f.r, 6: f.w}}]\n")
	fails(other, "the path is not a FIFO", 1)
	rep := detached(t, there)
	if _, err := unix.Write(copyOf(t, rep.Tasks[0].HostPID, 6), []byte("y")); err != nil {
		t.Fatal(err)
	}
	if got := takenAll(t, ours); !slices.Equal(got, []string{"y"}) {
		t.Errorf("what the tree writes arrives as %q", got)
	}
	if info, err := os.Lstat(fifo); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("the FIFO is %v: %v", info, err)
	}
}

const mutatedFifos = `version: 1
files:
  ff: {type: fifo, path: f, ends: {in: r, in2: r, out: w, both: rw}, content: abc, capacity: 8192, owner: [5, 6], mode: 0640}
  pk: {type: fifo, path: g, ends: r, packet: true, content: [p1, p22], unlinked: true}
  up: {type: fifo, path: h, ends: w, packet: true, mode: 0600}
  fl: {type: fifo, path: i, ends: r, content: $LONG, read: 1}
tasks: [{name: root, fds: {3: up.w, 4: fl.r, 5: ff.in, 6: ff.in2, 7: ff.out, 8: ff.both, 9: pk.r}}]
`

func init() {
	in := strings.Replace(mutatedFifos, "$LONG", strings.Repeat("x", 5000), 1)
	chown := func(uid, gid int) func(int) error { return func(fd int) error { return unix.Fchown(fd, uid, gid) } }
	for _, m := range []mutation{
		{key: "fifo.path", find: `3:\d+: .*file "ff.in": path: described ".*/f", real ".*/f2"`, restored: []string{"path: f,", "path: f2,"}},
		{key: "fifo.path", name: "removed", find: `3:\d+: .*file "ff.in": path: described ".*/f", real ".*/f \(deleted\)"`, change: func(t *testing.T, pids map[string]int) {
			removeOf(t, pids["root"], 5)
		}},
		{key: "fifo.ends", find: `3:\d+: .*file "ff.out": ends.w: described "w", real nothing`, restored: []string{"out: w,", "out: rw,"}},
		{key: "fifo.ends", name: "of another FIFO", find: `7:\d+: .*file "ff.in2": described the other end of`, restored: []string{"6: ff.in2", "6: pk.r"}},
		{key: "fifo.content", find: `3:\d+: .*file "ff.in": content: described "abc", real "c"`, change: changes("root", 6, takes(2))},
		{key: "fifo.content", name: "a packet", find: `4:\d+: .*file "pk.r": content\[0\]: described "p1", real nothing`, change: changes("root", 9, takes(2))},
		{key: "fifo.capacity", find: `3:\d+: .*file "ff.in": capacity: described 8192, real 4096`, change: changes("root", 7, func(fd int) error {
			_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, 4096)
			return err
		})},
		{key: "fifo.packet", find: `5:\d+: .*file "up.w": packet: described true, real false`, change: changes("root", 3, setFlags(0))},
		{key: "fifo.packet", name: "which is not said", find: `3:\d+: .*file "ff.out": packet: described false, real true`, change: changes("root", 7, setFlags(unix.O_DIRECT))},
		{key: "fifo.read", find: `6:\d+: .*file "fl.r": read: described 1, real 3`, change: changes("root", 4, takes(2))},
		{key: "fifo.owner", find: `3:\d+: .*file "ff.in": owner\[0\]: described 5, real 7`, change: changes("root", 8, chown(7, -1))},
		{key: "fifo.owner", name: "the group", find: `3:\d+: .*file "ff.in": owner\[1\]: described 6, real 7`, change: changes("root", 8, chown(-1, 7))},
		{key: "fifo.mode", find: `3:\d+: .*file "ff.in": mode: described 0640, real 0600`, change: changes("root", 8, func(fd int) error { return unix.Fchmod(fd, 0o600) })},
		{key: "fifo.hup", find: `4:\d+: .*file "pk.r": hup: described false, real true`, change: func(t *testing.T, pids map[string]int) {
			w, err := unix.Open(fmt.Sprintf("/proc/%d/fd/9", pids["root"]), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err == nil {
				err = unix.Close(w)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{key: "fifo.flags", find: `3:\d+: .*file "ff.in2": flags.r: described \[\], real \[O_NONBLOCK\]`, change: changes("root", 6, setFlags(unix.O_NONBLOCK))},
		{key: "fifo.flags", name: "of a writer", find: `3:\d+: .*file "ff.both": flags.rw: described \[\], real \[O_APPEND\]`, change: changes("root", 8, setFlags(unix.O_APPEND))},
	} {
		m.in = in
		mutations = append(mutations, m)
	}
	notMutated["fifo.unlinked"] = "the path shows it"
}
