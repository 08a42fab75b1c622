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

// TestUnixNames restores sockets with names of all forms, and holds what the kernel says of
// them, of their paths and of those who have sent to them: CRIU 4.2 loses these.
func TestUnixNames(t *testing.T) {
	needRoot(t)
	dir := openFolder(t)
	name := fmt.Sprintf("regrow-test-%d", os.Getpid())
	text := strings.NewReplacer("$DIR", dir, "$NAME", name, "$FULL", name+strings.Repeat("x", 107-len(name))).Replace(`version: 1
files:
  path: {type: unix, listen: $DIR/path, mode: 0620, owner: [5, 6], backlog: 3}
  rel: {type: unix, listen: rel, socktype: seqpacket}
  bytes: {type: unix, socktype: dgram, bind: !!binary QACm/w==}
  auto: {type: unix, listen: autobind}
  gone: {type: unix, socktype: dgram, bind: $DIR/gone, deleted: true, queue: [nobody, {data: one, from: "@$NAME-sender"}, {data: "", from: sender}, {data: three, from: $DIR/was}]}
  sender: {type: unix, socktype: dgram, bind: "@$NAME-here", connect: gone}
  lost: {type: unix, name: "@$NAME-lost", bind: $DIR/client}
  also: {type: unix, name: "@$NAME-lost", queue: {server: [more]}}
  other: {type: unix, listen: "@$NAME-here", socktype: seqpacket}
  full: {type: unix, socktype: dgram, bind: "@$FULL"}
tasks: [{name: a, fds: {5: path, 6: rel, 7: bytes, 8: auto, 9: gone, 10: sender, 11: lost.client, 12: lost.server, 13: also.client, 14: also.server, 15: other, 16: full}}]
`)
	path := save(t, dir, text)
	rep := report(t, run(t, "restore", "-d", "--json", path))
	defer endTree(t)
	verifyRight(t, path, rep)
	_, fds := copiesOf(t, rep.Tasks[0].HostPID, "path", "rel", "bytes", "auto", "gone", "sender", "lost.client", "lost.server")
	called := func(of string, get func(int) (unix.Sockaddr, error)) string {
		address, err := get(fds[of])
		if err != nil {
			return err.Error()
		}
		return address.(*unix.SockaddrUnix).Name
	}
	for of, want := range map[string]string{
		"path": dir + "/path", "rel": "rel", "gone": dir + "/gone", "sender": "@" + name + "-here", "lost.client": dir + "/client", "lost.server": "@" + name + "-lost",
	} {
		if got := called(of, unix.Getsockname); got != want {
			t.Errorf("%s is called %q, want %q", of, got, want)
		}
	}
	if got := called("auto", unix.Getsockname); len(got) != 6 || got[0] != '@' {
		t.Errorf("the kernel has chosen %q", got)
	}
	for of, want := range map[string]string{"sender": dir + "/gone", "lost.client": "@" + name + "-lost", "lost.server": dir + "/client"} {
		if got := called(of, unix.Getpeername); got != want {
			t.Errorf("the other side of %s is called %q, want %q", of, got, want)
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir+"/path", &st); err != nil || st.Mode != unix.S_IFSOCK|0o620 || st.Uid != 5 || st.Gid != 6 {
		t.Errorf("the path has mode %#o and belongs to %d:%d: %v", st.Mode, st.Uid, st.Gid, err)
	}
	for _, removed := range []string{"gone", "was"} {
		if err := unix.Lstat(dir+"/"+removed, &st); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s is there: %v", removed, err)
		}
	}
	if got, want := receives(t, fds["gone"], fds), []string{
		`"nobody"`, `"one" from @` + name + "-sender", `"" from @` + name + "-here", `"three" from ` + dir + "/was", "EAGAIN",
	}; !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
	if err := unix.Sendto(fds["sender"], []byte("more"), unix.MSG_DONTWAIT, nil); err != nil {
		t.Errorf("the sender cannot send: %v", err)
	}
	if got := receives(t, fds["gone"], fds); !slices.Equal(got, []string{`"more" from @` + name + "-here", "EAGAIN"}) {
		t.Errorf("it arrives as %q", got)
	}
}

// TestUnixPending restores connections that nobody has accepted, with data, one of them by a
// client that is gone: each is accepted with what it has sent, in the order of the
// description. CRIU 4.2 refuses them.
func TestUnixPending(t *testing.T) {
	needRoot(t)
	for _, of := range []string{"stream", "seqpacket"} {
		t.Run(of, func(t *testing.T) {
			_, fds := socketsOf(t, strings.ReplaceAll(`  l: {type: unix, listen: autobind, socktype: TYPE, backlog: 2, flags: [O_NONBLOCK]}
  first: {type: unix, via: l, pending: true, queue: {server: [one, {data: two, files: [n]}]}}
  acc: {type: unix, via: l, queue: {server: [to the server], client: [to the client]}}
  second: {type: unix, via: l, pending: true, queue: {server: [second]}, shutdown: {client: wr}}
  third: {type: unix, via: l, pending: true, queue: {server: [third]}}
  n: {type: reg, path: /dev/null}
  keeps: {type: unix, pair: stream, queue: {a: [{data: x, files: [third.client]}]}}
`, "TYPE", of), "l", "first.client", "acc.client", "acc.server", "second.client", "n", "keeps.a")
			for name, want := range map[string]string{"acc.client": `"to the client"`, "acc.server": `"to the server"`} {
				if got := receives(t, fds[name], fds); got[0] != want {
					t.Errorf("%s receives %q", name, got)
				}
			}
			two := map[string][]string{"stream": {`"onetwo" n`, "EAGAIN"}, "seqpacket": {`"one"`, `"two" n`, "EAGAIN"}}[of]
			for i, want := range [][]string{two, {`"second"`}, {`"third"`}} {
				s, _, err := unix.Accept4(fds["l"], unix.SOCK_CLOEXEC)
				if err != nil {
					t.Fatalf("connection %d: %v", i, err)
				}
				defer unix.Close(s)
				if got := receives(t, s, fds); !slices.Equal(got[:len(want)], want) {
					t.Errorf("connection %d: received %q, want %q", i, got, want)
				}
			}
			if _, _, err := unix.Accept4(fds["l"], unix.SOCK_CLOEXEC); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("one more: %v", err)
			}
		})
	}
}

// TestUnixRefused holds what is said of names that are in use, and that nothing is left.
func TestUnixRefused(t *testing.T) {
	needRoot(t)
	dir := openFolder(t)
	name := fmt.Sprintf("@regrow-test-taken-%d", os.Getpid())
	for _, address := range []string{name, dir + "/live"} {
		s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(s)
		if err := unix.Bind(s, &unix.SockaddrUnix{Name: address}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(s, &unix.SockaddrUnix{Name: dir + "/left"}); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(s)
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	mine := fmt.Sprintf("is in use by pid %d (%s)", os.Getpid(), strings.TrimSpace(string(comm)))
	for _, c := range []struct{ keys, want string }{
		{"listen: \"" + name + "\"", "\"" + name + "\" " + mine},
		{"listen: live", "\"live\" " + mine},
		{"listen: left", `"left" is there, and no socket of this network namespace has it; remove it if it is left over from one that is gone`},
		{"listen: file", `"file" is there already, and is no socket; remove it, or write another path`},
		{"listen: missing/s", "no such file or directory"},
		{"listen: autobind, backlog: 100000", "net.core.somaxconn"},
	} {
		before, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		path := save(t, dir, "version: 1\nfiles: {made: {type: unix, listen: made}, s: {type: unix, "+c.keys+"}}\ntasks: [{name: a, fds: {3: made, 4: s}}]\n")
		if res := run(t, "restore", "-d", path); res.status == 0 || !strings.Contains(res.errors, c.want) || !strings.Contains(res.errors, "tree.yaml:2:") {
			t.Errorf("%s: status %d: %s, want %s", c.keys, res.status, res.errors, c.want)
		}
		after, err := os.ReadDir(dir)
		if err != nil || len(after) > len(before)+1 { // the description
			t.Errorf("%s: before %v, after %v (%v)", c.keys, before, after, err)
		}
		_ = os.Remove(path)
	}
}

// TestUnixOnlyInQueue holds that an open file that waits in a queue and that no task has is
// named where it cannot be made.
func TestUnixOnlyInQueue(t *testing.T) {
	needRoot(t)
	res := run(t, "restore", "-d", write(t, "version: 1\nfiles:\n  s: {type: unix, pair: stream, queue: {a: [{data: x, files: [f]}]}}\n  f: {type: reg, path: /nowhere/at/all}\ntasks: [{name: a, fds: {3: s.a}}]\n"))
	if res.status != 1 || !strings.Contains(res.errors, "tree.yaml:4:") {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
}

// TestUnixOptions restores options and filters, and holds what getsockopt(2) says of them,
// and that what waits was not touched by them: CRIU 4.2 loses SO_TIMESTAMP, SO_PEEK_OFF and
// SO_PASSRIGHTS.
func TestUnixOptions(t *testing.T) {
	needRoot(t)
	_, fds := socketsOf(t, `  s: {type: unix, pair: dgram, queue: {a: [abc, {data: def, files: [s.b]}]}, options: {a: {SO_PEEK_OFF: 5, SO_TIMESTAMP: 1, SO_RCVBUF: 8192, SO_SNDBUF: 400000, SO_RCVTIMEO: 9s, SO_LOCK_FILTER: 1}, b: {SO_PASSCRED: 1, SO_MARK: 7}}, filter: {a: [[6, 0, 0, 0]]}}
`, "s.a", "s.b")
	const soPeekOff = 42
	for _, c := range []struct {
		of       string
		nr, want int
	}{
		{"s.a", soPeekOff, 5},
		{"s.a", unix.SO_TIMESTAMP, 1},
		{"s.a", unix.SO_RCVBUF, 8192},
		{"s.a", unix.SO_SNDBUF, 400000},
		{"s.a", unix.SO_LOCK_FILTER, 1},
		{"s.b", unix.SO_PASSCRED, 1},
		{"s.b", unix.SO_MARK, 7},
		{"s.b", unix.SO_TIMESTAMP, 0},
		{"s.b", soPeekOff, -1},
	} {
		if got, err := unix.GetsockoptInt(fds[c.of], unix.SOL_SOCKET, c.nr); err != nil || got != c.want {
			t.Errorf("option %d of %s is %d, want %d (%v)", c.nr, c.of, got, c.want, err)
		}
	}
	if got, err := unix.GetsockoptTimeval(fds["s.a"], unix.SOL_SOCKET, unix.SO_RCVTIMEO); err != nil || got.Sec != 9 {
		t.Errorf("SO_RCVTIMEO is %+v (%v)", got, err)
	}
	if err := unix.SetsockoptInt(fds["s.a"], unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("the filter is not locked: %v", err)
	}
	// The filter drops what comes, not what waited: it was attached behind that.
	if err := unix.Sendto(fds["s.b"], []byte("dropped"), unix.MSG_DONTWAIT, nil); err != nil && !errors.Is(err, unix.EPERM) {
		t.Errorf("send: %v", err)
	}
	for i, want := range []string{"abc", "def"} {
		data := make([]byte, 10)
		if n, _, err := unix.Recvfrom(fds["s.a"], data, unix.MSG_DONTWAIT); err != nil || string(data[:n]) != want {
			t.Errorf("item %d: %q, %v", i, data[:n], err)
		}
	}
	if _, _, err := unix.Recvfrom(fds["s.a"], make([]byte, 10), unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("one more: %v", err)
	}
}

// TestUnixNewOptions restores options that older kernels do not have, and refuse.
func TestUnixNewOptions(t *testing.T) {
	needRoot(t)
	for name, o := range map[string]struct {
		nr, value int
		since     string
	}{"SO_PASSPIDFD": {76, 1, "6.5"}, "SO_PASSRIGHTS": {83, 0, "6.16"}} {
		text := fmt.Sprintf("  s: {type: unix, pair: stream, queue: {a: [{data: x, files: [s.b]}]}, options: {a: {%s: %d}}}\n", name, o.value)
		if olderThan(t, o.since) {
			res := run(t, "restore", "-d", write(t, "version: 1\nfiles:\n"+text+"tasks: [{name: a, fds: {5: s.a}}]\n"))
			if res.status != 1 || !strings.Contains(res.errors, "this kernel does not have it") {
				t.Errorf("%s: status %d: %s", name, res.status, res.errors)
			}
			continue
		}
		_, fds := socketsOf(t, text, "s.a", "s.b")
		if got, err := unix.GetsockoptInt(fds["s.a"], unix.SOL_SOCKET, o.nr); err != nil || got != o.value {
			t.Errorf("%s is %d, want %d (%v)", name, got, o.value, err)
		}
		if got := receives(t, fds["s.a"], fds); !strings.HasPrefix(got[0], `"x"`) || !strings.Contains(got[0], "s.b") {
			t.Errorf("%s: what waited is received as %q", name, got)
		}
	}
}
