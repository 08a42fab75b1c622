package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openFilesOf restores a tree of one task that holds, with open files at 5, 6 and so on,
// and gives the task's pid and copies of the descriptors.
func openFilesOf(t *testing.T, files string, names ...string) (pid int, fds []int) {
	t.Helper()
	var at []string
	for i, name := range names {
		at = append(at, fmt.Sprintf("%d: %s", 5+i, name))
	}
	rep := detached(t, write(t, "version: 1\nfiles:\n"+files+"\ntasks: [{name: a, fds: {"+strings.Join(at, ", ")+"}}]\n"))
	pid = rep.Tasks[0].HostPID
	for i := range names {
		fds = append(fds, copyOf(t, pid, 5+i))
	}
	return pid, fds
}

// copyOf gives a copy of a process's descriptor, which is closed with the test.
func copyOf(t *testing.T, pid, fd int) int {
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
	t.Cleanup(func() { _ = unix.Close(copied) })
	return copied
}

// takenAll reads until nothing waits, and gives what each read took.
func takenAll(t *testing.T, fd int) (pieces []string) {
	t.Helper()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	room := make([]byte, 1<<17)
	for {
		n, err := unix.Read(fd, room)
		if n <= 0 {
			if err != nil && !errors.Is(err, unix.EAGAIN) {
				t.Fatal(err)
			}
			return pieces
		}
		pieces = append(pieces, string(room[:n]))
	}
}

// TestPacketPipe holds what the kernel says of a restored pipe in packet mode, and that a
// read takes a packet.
func TestPacketPipe(t *testing.T) {
	needRoot(t)
	page := strings.Repeat("x", 4096)
	sixteen := slices.Repeat([]string{"a"}, 16)
	for _, c := range []struct {
		keys    string
		packets []string
		flags   int
		size    int
	}{
		{"", nil, 0, 65536},
		{", content: one", []string{"one"}, 0, 65536},
		{", content: [p1, p22, " + page + "]", []string{"p1", "p22", page}, 0, 65536},
		{", content: [" + strings.Join(sixteen, ", ") + "], flags: {w: [O_NONBLOCK]}", sixteen, unix.O_NONBLOCK, 65536},
		{", content: [" + page + ", a], capacity: 8KiB, flags: {w: [O_DIRECT]}", []string{page, "a"}, 0, 8192},
	} {
		t.Run(fmt.Sprintf("%d packets", len(c.packets)), func(t *testing.T) {
			_, fds := openFilesOf(t, "  p: {type: pipe, packet: true"+c.keys+"}", "p.r", "p.w")
			if got := statusFlags(t, fds[1]); got != unix.O_WRONLY|unix.O_DIRECT|c.flags {
				t.Errorf("flags of w: %#o", got)
			}
			if got := statusFlags(t, fds[0]); got != unix.O_RDONLY {
				t.Errorf("flags of r: %#o", got)
			}
			if size, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETPIPE_SZ, 0); err != nil || size != c.size {
				t.Errorf("capacity %d: %v", size, err)
			}
			if waiting, err := unix.IoctlGetInt(fds[0], unix.TIOCINQ); err != nil || waiting != len(strings.Join(c.packets, "")) {
				t.Errorf("%d bytes wait: %v", waiting, err)
			}
			if got := takenAll(t, fds[0]); !slices.Equal(got, c.packets) {
				t.Errorf("reads give %.60q", got)
			}
			for _, packet := range []string{"new", "newer"} {
				if _, err := unix.Write(fds[1], []byte(packet)); err != nil {
					t.Fatal(err)
				}
			}
			if got := takenAll(t, fds[0]); !slices.Equal(got, []string{"new", "newer"}) {
				t.Errorf("reads of what was written now give %q", got)
			}
		})
	}
}

// TestBytesInPacketPipe holds that O_DIRECT among the flags leaves a content as bytes:
// one read takes a part, and the next one the rest.
func TestBytesInPacketPipe(t *testing.T) {
	needRoot(t)
	for _, flags := range []string{"w: [O_DIRECT]", "r: [O_DIRECT], w: [O_DIRECT]"} {
		_, fds := openFilesOf(t, "  p: {type: pipe, content: abc, flags: {"+flags+"}}", "p.r", "p.w")
		var one [1]byte
		if n, err := unix.Read(fds[0], one[:]); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if got := takenAll(t, fds[0]); !slices.Equal(got, []string{"bc"}) {
			t.Errorf("%s: the rest is %q", flags, got)
		}
	}
}

// TestFullPipe holds whether a writer finds room in a pipe of which something was read.
func TestFullPipe(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		content, read int
		room          bool
	}{{65535, 1, false}, {65535, 0, true}, {65536 - 4095, 4095, false}, {1, 4095, true}} {
		_, fds := openFilesOf(t, fmt.Sprintf("  p: {type: pipe, content: %s, read: %d, flags: {w: [O_NONBLOCK]}}", strings.Repeat("x", c.content), c.read), "p.r", "p.w")
		if waiting, err := unix.IoctlGetInt(fds[0], unix.TIOCINQ); err != nil || waiting != c.content {
			t.Errorf("%+v: %d bytes wait: %v", c, waiting, err)
		}
		_, err := unix.Write(fds[1], []byte("y"))
		if room := err == nil; room != c.room || err != nil && !errors.Is(err, unix.EAGAIN) {
			t.Errorf("%+v: a write: %v", c, err)
		}
	}
}

// TestPipeOwner holds the owner and the mode of a pipe at both of its ends, made by the
// runner or by a task for itself.
func TestPipeOwner(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		keys     string
		uid, gid uint32
		mode     uint32
	}{
		{"", 0, 0, 0o600},
		{", owner: 1000", 1000, 0, 0o600},
		{", owner: [1000, 5], mode: 0", 1000, 5, 0},
		{", owner: [0, 4294967294], mode: 0777", 0, 4294967294, 0o777},
	} {
		for _, second := range []string{"", ", children: [{name: b, fds: {9: p.r}}]"} {
			rep := detached(t, write(t, "version: 1\nfiles:\n  p: {type: pipe"+c.keys+"}\ntasks: [{name: a, fds: {5: p.r, 6: p.w}"+second+"}]\n"))
			for _, fd := range []int{5, 6} {
				var st unix.Stat_t
				if err := unix.Fstat(copyOf(t, rep.Tasks[0].HostPID, fd), &st); err != nil {
					t.Fatal(err)
				}
				if st.Uid != c.uid || st.Gid != c.gid || st.Mode != unix.S_IFIFO|c.mode {
					t.Errorf("%s: fd %d has the owner %d, %d and the mode %#o", c.keys, fd, st.Uid, st.Gid, st.Mode)
				}
			}
		}
	}
}

const mutatedPipes = `version: 1
files:
  pk:   {type: pipe, packet: true, content: [p1, p22], owner: [5, 6], mode: 0640}
  full: {type: pipe, content: $LONG, read: 1}
tasks: [{name: root, fds: {5: pk.r, 6: pk.w, 7: full.r, 8: full.w}}]
`

func init() {
	in := strings.Replace(mutatedPipes, "$LONG", strings.Repeat("x", 5000), 1)
	chown := func(uid, gid int) func(int) error { return func(fd int) error { return unix.Fchown(fd, uid, gid) } }
	for _, m := range []mutation{
		{key: "pipe.packet", find: `3:\d+: .*file "pk": packet: described true, real false`, change: changes("root", 6, setFlags(0))},
		{key: "pipe.packet", name: "which is not said", find: `4:\d+: .*file "full": packet: described false, real true`, change: changes("root", 8, setFlags(unix.O_DIRECT))},
		{key: "pipe.content", name: "a packet less", find: `3:\d+: .*file "pk": content\[1\]: described "p22", real nothing`, change: changes("root", 5, takes(9))},
		{key: "pipe.content", name: "a packet more", find: `3:\d+: .*file "pk": content\[2\]: described nothing, real "p333"`, change: changes("root", 6, sends("p333"))},
		{key: "pipe.content", name: "where a packet ends", find: `3:\d+: .*file "pk": content\[0\]: described "p1", real "p1p"`, restored: []string{"[p1, p22]", "[p1p, 22]"}},
		{key: "pipe.read", find: `4:\d+: .*file "full": read: described 1, real 3`, change: changes("root", 7, takes(2))},
		{key: "pipe.owner", find: `3:\d+: .*file "pk": owner\[0\]: described 5, real 7`, change: changes("root", 5, chown(7, 6))},
		{key: "pipe.owner", name: "by the other end", find: `3:\d+: .*file "pk": owner\[0\]: described 5, real 7`, change: changes("root", 6, chown(7, -1))},
		{key: "pipe.owner", name: "the group", find: `3:\d+: .*file "pk": owner\[1\]: described 6, real 7`, change: changes("root", 6, chown(-1, 7))},
		{key: "pipe.mode", find: `3:\d+: .*file "pk": mode: described 0640, real 0600`, change: changes("root", 5, func(fd int) error { return unix.Fchmod(fd, 0o600) })},
		{key: "pipe.mode", name: "which is not said", find: `4:\d+: .*file "full": mode: described 0600, real 0640`, change: changes("root", 7, func(fd int) error { return unix.Fchmod(fd, 0o640) })},
	} {
		m.in = in
		mutations = append(mutations, m)
	}
}
