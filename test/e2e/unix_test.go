package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// socketsOf restores a tree of one task that holds, with open files from 5 on, and gives
// the task's pid and copies of the descriptors by name.
func socketsOf(t *testing.T, files string, names ...string) (pid int, fds map[string]int) {
	t.Helper()
	var table []string
	for i, name := range names {
		table = append(table, fmt.Sprintf("%d: %s", 5+i, name))
	}
	path := write(t, "version: 1\nfiles:\n"+files+"tasks: [{name: a, fds: {"+strings.Join(table, ", ")+"}}]\n")
	rep := detached(t, path)
	return copiesOf(t, rep.Tasks[0].HostPID, names...)
}

// copiesOf copies descriptors of a task from 5 on.
func copiesOf(t *testing.T, pid int, names ...string) (_ int, fds map[string]int) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	fds = map[string]int{}
	for i, name := range names {
		fd, err := unix.PidfdGetfd(pidfd, 5+i, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds[name] = fd
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	return pid, fds
}

// receives takes what waits in a socket, each as it is received: its text, and the names of
// the files that came along; and the end: EAGAIN, EOF, or an error before that.
func receives(t *testing.T, fd int, named map[string]int) (all []string) {
	t.Helper()
	kindOf, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		data, rights := make([]byte, 1<<20), make([]byte, unix.CmsgSpace(4*253))
		n, oobn, _, from, err := unix.Recvmsg(fd, data, rights, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return append(all, "EAGAIN")
		case err != nil:
			errno, _ := errors.AsType[unix.Errno](err)
			all = append(all, unix.ErrnoName(errno))
			continue
		case n == 0 && oobn == 0 && kindOf == unix.SOCK_STREAM:
			return append(all, "EOF")
		}
		text := fmt.Sprintf("%q", data[:n])
		if n > 100 {
			text = fmt.Sprintf("%d bytes", n)
		}
		messages, err := unix.ParseSocketControlMessage(rights[:oobn])
		if err != nil {
			t.Fatal(err)
		}
		for i := range messages {
			files, err := unix.ParseUnixRights(&messages[i])
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				text += " " + nameOf(t, file, named)
				_ = unix.Close(file)
			}
		}
		if sender, ok := from.(*unix.SockaddrUnix); ok && sender.Name != "" && kindOf == unix.SOCK_DGRAM {
			text += " from " + sender.Name
		}
		all = append(all, text)
	}
	return append(all, "and so on")
}

// nameOf gives the name of a descriptor of this process's that is one open file with
// another one.
func nameOf(t *testing.T, fd int, named map[string]int) string {
	t.Helper()
	for name, other := range named {
		same, err := sameFile(os.Getpid(), fd, os.Getpid(), other)
		if err != nil {
			t.Fatal(err)
		}
		if same {
			return name
		}
	}
	return "unknown"
}

// TestUnixPairs restores pairs, and takes what waits in them: boundaries, files, loops, out
// of band bytes, directions that are shut, ends that nobody has.
func TestUnixPairs(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name  string
		files string
		have  []string
		want  map[string][]string
		since string
	}{
		{
			"a stream is one text", "  s: {type: unix, pair: stream, queue: {a: [one, two], b: [back]}}\n",
			[]string{"s.a", "s.b"},
			map[string][]string{"s.a": {`"onetwo"`, "EAGAIN"}, "s.b": {`"back"`, "EAGAIN"}},
			"",
		},
		{
			"a stream has boundaries behind files", "  s: {type: unix, pair: stream, queue: {a: [one, {data: two, files: [n, n, s.b]}, three]}}\n  n: {type: reg, path: /dev/null}\n",
			[]string{"s.a", "s.b", "n"},
			map[string][]string{"s.a": {`"onetwo" n n s.b`, `"three"`, "EAGAIN"}},
			"",
		},
		{
			"datagrams, one empty", "  d: {type: unix, pair: dgram, queue: {b: [one, \"\", two]}}\n",
			[]string{"d.a", "d.b"},
			map[string][]string{"d.b": {`"one"`, `""`, `"two"`, "EAGAIN"}},
			"",
		},
		{
			"an empty datagram with a file", "  d: {type: unix, pair: dgram, queue: {b: [{files: [p.r]}, {data: \"\", files: [d.b, p.w]}]}}\n  p: {type: pipe}\n",
			[]string{"d.b", "p.r", "p.w"},
			map[string][]string{"d.b": {`"" p.r`, `"" d.b p.w`, "EAGAIN"}},
			"",
		},
		{
			"packets", "  q: {type: unix, pair: seqpacket, queue: {a: [one, \"\", {data: two, files: [q.a]}]}}\n",
			[]string{"q.a", "q.b"},
			map[string][]string{"q.a": {`"one"`, `""`, `"two" q.a`, "EAGAIN"}},
			"",
		},
		{
			"an out-of-band byte", "  s: {type: unix, pair: stream, queue: {b: [{data: \"ab!\", oob: true}, cd]}}\n",
			[]string{"s.a", "s.b"},
			map[string][]string{"s.b": {`"ab"`, `"cd"`, "EAGAIN"}},
			"5.15",
		},
		{
			"shut for sending: the end is seen behind what waits", "  s: {type: unix, pair: stream, queue: {b: [last words]}, shutdown: {a: wr}}\n",
			[]string{"s.a", "s.b"},
			map[string][]string{"s.b": {`"last words"`, "EOF"}, "s.a": {"EAGAIN"}},
			"",
		},
		{
			"shut for receiving", "  s: {type: unix, pair: stream, queue: {b: [x]}, shutdown: {a: rd}}\n",
			[]string{"s.a", "s.b"},
			map[string][]string{"s.a": {"EOF"}, "s.b": {`"x"`, "EAGAIN"}},
			"",
		},
		{
			"nobody has the other end", "  s: {type: unix, pair: stream, queue: {a: [x]}}\n",
			[]string{"s.a"},
			map[string][]string{"s.a": {`"x"`, "EOF"}},
			"",
		},
		{
			"nobody has the other end, in which something waits", "  s: {type: unix, pair: stream, queue: {a: [x], b: [never read]}}\n",
			[]string{"s.a"},
			map[string][]string{"s.a": {`"x"`, "ECONNRESET", "EOF"}},
			"",
		},
		{
			"an end waits in its own queue, and nobody else has it", "  s: {type: unix, pair: stream, queue: {a: [{data: me, files: [s.a, s.b]}]}}\n",
			[]string{"s.a"},
			map[string][]string{"s.a": {`"me" s.a unknown`, "EOF"}},
			"",
		},
		{
			"253 files in an item", "  n: {type: reg, path: /dev/null}\n  d: {type: unix, pair: dgram, queue: {a: [{files: [" + strings.Repeat("n, ", 252) + "n]}]}}\n",
			[]string{"d.a", "n"},
			map[string][]string{"d.a": {`""` + strings.Repeat(" n", 253), "EAGAIN"}},
			"",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.since != "" && olderThan(t, c.since) {
				t.Skip("this kernel has no out-of-band bytes on Unix sockets: see TestFeatures")
			}
			_, fds := socketsOf(t, c.files, c.have...)
			if strings.Contains(c.files, "oob") {
				one := make([]byte, 1)
				if n, _, err := unix.Recvfrom(fds["s.b"], one, unix.MSG_OOB|unix.MSG_PEEK); n != 1 || err != nil || one[0] != '!' {
					t.Errorf("out of band: %d bytes %q, %v", n, one, err)
				}
			}
			for name, want := range c.want {
				if got := receives(t, fds[name], fds); !slices.Equal(got, want) {
					t.Errorf("%s receives %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestUnixLoop restores two sockets that wait in each other's queue, both senders closed:
// what CRIU 4.2 cannot restore. Who receives the one gets the other, and from that the first
// one again.
func TestUnixLoop(t *testing.T) {
	needRoot(t)
	_, fds := socketsOf(t, "  one: {type: unix, pair: dgram, queue: {b: [{data: two, files: [two.b]}]}}\n"+
		"  two: {type: unix, pair: dgram, queue: {b: [{data: one, files: [one.b]}]}}\n", "one.b")
	at := fds["one.b"]
	for _, want := range []string{"two", "one"} {
		data, rights := make([]byte, 10), make([]byte, unix.CmsgSpace(4))
		n, oobn, _, _, err := unix.Recvmsg(at, data, rights, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err != nil || string(data[:n]) != want {
			t.Fatalf("received %q, %v, want %q", data[:n], err, want)
		}
		messages, err := unix.ParseSocketControlMessage(rights[:oobn])
		if err != nil || len(messages) != 1 {
			t.Fatalf("%d control messages, %v", len(messages), err)
		}
		files, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(files) != 1 {
			t.Fatalf("files %v, %v", files, err)
		}
		defer unix.Close(files[0])
		at = files[0]
	}
	if name := nameOf(t, at, fds); name != "one.b" {
		t.Errorf("the second one has brought %s", name)
	}
}

// TestUnixNesting restores sockets in one another's queues, 40 deep.
func TestUnixNesting(t *testing.T) {
	needRoot(t)
	const deep = 40
	var files strings.Builder
	files.WriteString("  n: {type: reg, path: /dev/null}\n")
	inner := "n"
	for i := range deep {
		fmt.Fprintf(&files, "  s%d: {type: unix, pair: stream, queue: {a: [{data: x, files: [%s]}]}}\n", i, inner)
		inner = fmt.Sprintf("s%d.a", i)
	}
	_, fds := socketsOf(t, files.String(), inner, "n")
	at := fds[inner]
	for i := range deep {
		rights := make([]byte, unix.CmsgSpace(4))
		_, oobn, _, _, err := unix.Recvmsg(at, make([]byte, 1), rights, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err != nil {
			t.Fatalf("level %d: %v", i, err)
		}
		messages, _ := unix.ParseSocketControlMessage(rights[:oobn])
		got, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(got[0])
		at = got[0]
	}
	if name := nameOf(t, at, fds); name != "n" {
		t.Errorf("at the bottom lies %s", name)
	}
}

// TestUnixOwner holds that sockets have the owners and flags that are described: CRIU 4.2
// loses the owner.
func TestUnixOwner(t *testing.T) {
	needRoot(t)
	_, fds := socketsOf(t, "  s: {type: unix, pair: stream, owner: {a: 1000, b: [5, 6]}, flags: {a: [O_NONBLOCK], b: [O_ASYNC, O_APPEND]}}\n"+
		"  q: {type: unix, pair: seqpacket, owner: [7, 8], flags: [O_NONBLOCK, O_NOATIME]}\n", "s.a", "s.b", "q.a", "q.b")
	for name, want := range map[string]struct{ uid, gid, flags int }{
		"s.a": {1000, os.Getegid(), unix.O_NONBLOCK}, "s.b": {5, 6, unix.O_ASYNC | unix.O_APPEND},
		"q.a": {7, 8, unix.O_NONBLOCK | unix.O_NOATIME}, "q.b": {7, 8, unix.O_NONBLOCK | unix.O_NOATIME},
	} {
		var st unix.Stat_t
		if err := unix.Fstat(fds[name], &st); err != nil || int(st.Uid) != want.uid || int(st.Gid) != want.gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d (%v)", name, st.Uid, st.Gid, want.uid, want.gid, err)
		}
		if got := statusFlags(t, fds[name]) &^ unix.O_RDWR; got != want.flags {
			t.Errorf("%s: flags %#o, want %#o", name, got, want.flags)
		}
	}
}
