package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/tasktree/kind"
)

// feature is a row of the table in docs/kernels.md: something that a description or
// package fdstore needs from a kernel.
type feature struct {
	name string
	// kind is the kind of open file that the description tests, "" if none.
	kind string
	// since is the oldest kernel that has it, "" for all kernels that regrow
	// supports. On an older kernel it must be refused, with a message that matches
	// refused.
	since, refused string
	// held is a tree of held tasks, without its version, which is checked against the
	// kernel. $DIR is a new folder.
	held string
	// runs is a tree with programs, prints is its output.
	runs, prints string
	// call uses package fdstore.
	call func(t *testing.T) error
}

var features = []feature{
	{name: "regular file: offset, flags, mode, content", kind: "reg", held: `
files: {f: {type: reg, path: $DIR/f, flags: [O_RDWR, O_CREAT, O_APPEND], mode: 0640, content: abcdef, offset: 3}}
tasks: [{name: a, fds: {3: f}, children: [{name: b, fds: {0: f, 9: {file: f, cloexec: true}}}]}]`},
	{name: "regular file: O_TRUNC at release", kind: "reg", runs: `
files: {f: {type: reg, path: $DIR/old, flags: [O_WRONLY, O_TRUNC]}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out, 3: f}, run: [wc, -c, $DIR/old]}]`, prints: "0 $DIR/old\n"},
	{name: "folder, O_PATH", kind: "reg", held: `
files: {d: {type: reg, path: $DIR, flags: [O_DIRECTORY]}, p: {type: reg, path: $DIR/old, flags: [O_PATH]}}
tasks: [{name: a, fds: {3: d, 4: p}, children: [{name: b, fds: {4: d, 3: p}}]}]`},
	{name: "device", kind: "reg", held: `
files: {n: {type: reg, path: /dev/null, flags: [O_RDWR, O_NONBLOCK]}, z: {type: reg, path: /dev/zero}, t: {type: reg, path: /dev/ptmx, flags: [O_RDWR]}}
tasks: [{name: a, fds: {0: n, 1: z, 2: t}, children: [{name: b, fds: {2: n, 0: t}}]}]`},
	{
		name: "pipe: both ends, capacity, content", kind: "pipe", runs: `
files: {p: {type: pipe, capacity: 1048576, content: "in the pipe\n"}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {0: p.r, 1: out}, run: [head, -n, 2], children: [{name: b, fds: {1: p.w}, run: [echo, from a task]}]}]`,
		prints: "in the pipe\nfrom a task\n",
	},
	{
		name: "pipe: packets", kind: "pipe", runs: `
files: {p: {type: pipe, packet: true, content: [one, two, three]}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out, 3: p.r}, run: [sh, -c, 'for i in 1 2 3; do dd bs=4 count=1 <&3 2>/dev/null; echo; done']}]`,
		prints: "one\ntwo\nthre\n", // what does not fit is lost, as pipe(2) says
	},
	{
		name: "fifo: content, ends", kind: "fifo", runs: `
files: {f: {type: fifo, path: f, ends: {in: r, out: w}, content: "abc\n"}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out, 3: f.in, 4: f.out}, run: [sh, -c, 'echo more >&4; exec 4>&-; cat <&3']}]`,
		prints: "abc\nmore\n",
	},
	{
		name: "reg: unlinked, with a hole", kind: "reg", runs: `
files: {g: {type: reg, path: gone, unlinked: true, size: 10, content: {8: x}, offset: 8}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out, 3: g}, run: [sh, -c, 'tr "\\0" . <&3; cat /proc/self/fd/3 | tr "\\0" .']}]`,
		prints: "x.........x.",
	},
	{name: "pipe: shared by held tasks", kind: "pipe", held: `
files: {p: {type: pipe, flags: {r: [O_NONBLOCK], w: [O_NONBLOCK]}}}
tasks: [{name: a, fds: {0: p.r}, children: [{name: b, fds: {0: p.w, 1: p.r}}]}]`},
	{
		name: "eventfd: counter, semaphore", kind: "eventfd", runs: `
files: {e: {type: eventfd, counter: 3, semaphore: true, flags: [O_NONBLOCK]}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out, 3: e}, run: [sh, -c, 'for i in 1 2 3 4; do dd bs=8 count=1 <&3 2>/dev/null | od -An -tu8; done']}]`,
		prints: strings.Repeat(strings.Repeat(" ", 20)+"1\n", 3),
	},
	{name: "signalfd: a signal arrives", kind: "signalfd", runs: `
files: {s: {type: signalfd, signals: [SIGUSR1, SIGRTMIN+3]}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out, 3: s}, run: [$SELF], env: {REGROW_TEST_USES: signalfd}}]`, prints: "SIGUSR1 from itself\n"},
	{name: "memfd: content, mode, seals", kind: "memfd", runs: `
files: {m: {type: memfd, name: shared, size: 20, content: {0: hello, 10: tail}, mode: 0600, seals: [F_SEAL_WRITE], offset: 10}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out, 3: m}, run: [sh, -c, 'head -c 4 <&3; echo; echo x 2>/dev/null >&3 || echo sealed; stat -Lc %s:%a /dev/fd/3']}]`, prints: "tail\nsealed\n20:600\n"},
	{name: "memfd: F_SEAL_EXEC", kind: "memfd", since: "6.3", refused: "F_SEAL_EXEC is not in this kernel", runs: `
files: {m: {type: memfd, seals: [F_SEAL_EXEC]}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out, 3: m}, run: [sh, -c, 'chmod +x /dev/fd/3 2>/dev/null || stat -Lc %a /dev/fd/3']}]`, prints: "666\n"},
	{name: "reopen: a memfd, a pipe, a file", kind: "reopen", runs: `
files: {m: {type: memfd, content: "0123456789"}, ro: {type: reopen, file: m, offset: 3}, p: {type: pipe, content: "in it\n"}, both: {type: reopen, file: p.w, flags: [O_RDWR]}, tmp: {type: reg, path: $DIR, flags: [O_RDWR, O_TMPFILE], content: "no name\n"}, t: {type: reopen, file: tmp}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out, 3: ro, 4: both, 5: t}, run: [sh, -c, 'head -c 4 <&3; echo; echo x 2>/dev/null >&3 || echo read-only; head -n 1 <&4; cat <&5']}]`, prints: "3456\nread-only\nin it\nno name\n"},
	{
		name: "unix pair: datagrams with files, an end that nobody has", kind: "unix", runs: `
files: {d: {type: unix, pair: dgram, queue: {b: [one, "", {data: two, files: [p.w]}]}}, s: {type: unix, pair: stream, queue: {a: ["all\n"]}}, p: {type: pipe, content: "piped\n"}, out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {0: s.a, 1: out, 3: d.b}, run: [sh, -c, 'cat; exec $SELF'], env: {REGROW_TEST_USES: datagrams}}]`,
		prints: "all\n\"one\" 0 files\n\"\" 0 files\n\"two\" 1 files\n",
	},
	{
		name: "unix pair: an out-of-band byte", kind: "unix", since: "5.15", refused: "no out-of-band bytes on Unix sockets", held: `
files: {s: {type: unix, pair: stream, queue: {a: [{data: "now!", oob: true}, more]}}}
tasks: [{name: a, fds: {0: s.a}}]`,
	},
	{
		name: "unix: a listener, connections accepted and waiting, with data", kind: "unix", runs: `
files:
  l: {type: unix, listen: $DIR/s, mode: 0600}
  c: {type: unix, via: l, queue: {server: ["accepted\n"]}}
  p: {type: unix, via: l, pending: true, queue: {server: ["waits\n"]}}
  out: {type: inherit, key: stdout}
tasks: [{name: a, fds: {0: c.server, 1: out, 3: l, 4: p.client}, run: [sh, -c, 'head -n 1; exec $SELF'], env: {REGROW_TEST_USES: listener}}]`,
		prints: "accepted\n\"waits\\n\"\n",
	},
	{
		name: "unix: datagrams from senders, connected, deleted", kind: "unix", held: `
files: {d: {type: unix, socktype: dgram, bind: $DIR/d, deleted: true, queue: [one, {data: two, from: e}, {data: three, from: $DIR/gone}]}, e: {type: unix, socktype: dgram, bind: autobind, connect: d}}
tasks: [{name: a, fds: {0: d, 3: e}, children: [{name: b, fds: {0: e}}]}]`,
	},
	{
		name: "file of the caller", kind: "inherit", runs: `
files: {out: {type: inherit, key: stdout}, turn: {type: pipe}}
tasks: [{name: a, fds: {0: turn.r, 1: out}, run: [sh, -c, 'read x; echo root'], children: [{name: b, fds: {1: turn.w, 7: out}, run: [sh, -c, 'echo child >&7; echo']}]}]`,
		prints: "child\nroot\n",
	},

	{name: "exact pids", held: `
tasks: [{name: a, children: [{name: b, pid: $PID}]}]`},
	{name: "pid namespace with exact pids", held: `
namespaces: [pid]
tasks: [{name: a, pid: 1, children: [{name: b, pid: 300}, {name: c, pid: 42}]}]`},
	{name: "user and pid namespaces", held: `
namespaces: [user, pid]
files: {f: {type: reg, path: $DIR/old, flags: [O_RDWR]}}
tasks: [{name: a, pid: 1, fds: {0: f}, children: [{name: b, pid: 77, fds: {3: f}}]}]`},
	{name: "tasks that share one descriptor table", held: `
files: {f: {type: reg, path: /dev/null}, p: {type: pipe}}
tasks: [{name: a, fds: {0: f, 3: p.r, 5: p.w}, children: [{name: b, shares: {files: a}, children: [{name: c, fds: {0: p.w, 1: f}}]}]}]`},
	{name: "descriptors in a cycle, close-on-exec", held: `
files: {x: {type: reg, path: /dev/null}, y: {type: reg, path: /dev/zero}, z: {type: pipe}}
tasks: [{name: a, fds: {0: x, 1: y, 2: z.r}, children: [{name: b, fds: {0: y, 1: z.r, 2: {file: x, cloexec: true}}}, {name: c, fds: {0: z.w, 1: x, 2: y}}]}]`},
	{name: "program, folder, environment", runs: `
files: {out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out}, run: [sh, -c, 'echo $X; pwd -P'], env: {X: of the task}, cwd: /usr}]`, prints: "of the task\n/usr\n"},
	{
		name: "name and argument list", runs: `
files: {out: {type: inherit, key: stdout}}
tasks: [{name: a, fds: {1: out}, run: [sh, -c, 'read -r c rest </proc/$$/task/$$/children; cat /proc/$c/comm; tr "\0" "\n" </proc/$c/cmdline'], children: [{name: a-name-of-more-than-15}]}]`,
		prints: "a-name-of-more-\na-name-of-more-than-15\n",
	},

	{name: "store: add, get, group", call: func(t *testing.T) error { return useStore(t, fdstore.Options{}) }},
	{name: "store: flat", call: func(t *testing.T) error { return useStore(t, fdstore.Options{Layout: fdstore.Flat}) }},
	{name: "store: nested", call: func(t *testing.T) error { return useStore(t, fdstore.Options{Layout: fdstore.Nested}) }},
	{name: "store: names, list, copy", call: useCatalog},
	{name: "store: seal", call: useSeal},
}

// TestEveryKindHasAFeature checks that every kind has a row.
func TestEveryKindHasAFeature(t *testing.T) {
	for _, name := range kind.Names() {
		if !slices.ContainsFunc(features, func(f feature) bool { return f.kind == name }) {
			t.Errorf("kind %q has no row among the features, see docs/kernels.md", name)
		}
	}
}

// olderThan reports whether this kernel is older than a version.
func olderThan(t *testing.T, version string) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var here, want [2]int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &here[0], &here[1])
	if err == nil {
		_, err = fmt.Sscanf(version, "%d.%d", &want[0], &want[1])
	}
	if err != nil {
		t.Fatal(err)
	}
	return slices.Compare(here[:], want[:]) < 0
}

// TestFeatures tries every feature. A kernel that should have it must pass; on a kernel
// that is too old regrow must refuse it, with the right message.
func TestFeatures(t *testing.T) {
	needRoot(t)
	for _, f := range features {
		t.Run(f.name, func(t *testing.T) {
			t.Attr("feature", f.name)
			err := f.try(t)
			switch old := f.since != "" && olderThan(t, f.since); {
			case err == nil && old:
				t.Errorf("this kernel is older than %s, but has the feature: change the row", f.since)
			case err == nil:
				t.Attr("answer", "passed")
			case !old:
				t.Attr("answer", "FAILED")
				t.Errorf("this kernel should have the feature: %v", err)
			case !regexp.MustCompile(f.refused).MatchString(err.Error()):
				t.Attr("answer", "FAILED")
				t.Errorf("refused with %v, want %q", err, f.refused)
			default:
				t.Attr("answer", "refused")
			}
		})
	}
}

func (f feature) try(t *testing.T) error {
	if f.call != nil {
		return f.call(t)
	}
	dir := openFolder(t) // not named after the test, whose name contains commas
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	fill := func(s string) string {
		return strings.NewReplacer("$DIR", dir, "$SELF", os.Args[0], "$PID", fmt.Sprint(freePID(t))).Replace(s)
	}
	path := write(t, fill("version: 1"+f.held+f.runs+"\n"))
	if f.held == "" {
		res := run(t, "restore", path)
		if res.status != 0 || res.out != fill(f.prints) {
			return fmt.Errorf("status %d, printed %q: %s", res.status, res.out, res.errors)
		}
		return nil
	}
	res := run(t, "restore", "-d", "--json", path)
	if res.status != 0 {
		return fmt.Errorf("status %d: %s", res.status, res.errors)
	}
	defer endTree(t)
	if problems := prove(wantOf(t, path), report(t, res)); len(problems) > 0 {
		return fmt.Errorf("%s", strings.Join(problems, "; "))
	}
	return nil
}

// freePID returns a free pid, far from the pids that the kernel assigns next.
func freePID(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg") // the last field is the pid that was assigned last
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text))
	last, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	for pid := (last + 15_000) % 30_000; ; pid++ {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); pid > 300 && err != nil {
			return pid
		}
	}
}

// memfile returns an open file that contains a text.
func memfile(t *testing.T, text string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), text)
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

// isFile returns an error if a file is not the expected open file.
func isFile(got, want *os.File) error {
	defer got.Close()
	same, err := sameFile(os.Getpid(), int(got.Fd()), os.Getpid(), int(want.Fd()))
	if err == nil && !same {
		err = fmt.Errorf("got another open file than %q", want.Name())
	}
	return err
}

// useStore adds files one by one and in a group, and gets each.
func useStore(t *testing.T, o fdstore.Options) error {
	s, err := fdstore.New(o)
	if err != nil {
		return err
	}
	defer s.Close()
	a, b := memfile(t, "a"), memfile(t, "b")
	for i := range 100 {
		want := []*os.File{a, b}[i%2]
		id, err := s.Add(want)
		if err != nil {
			return err
		}
		got, err := s.Get(id)
		if err != nil {
			return err
		}
		if err := isFile(got, want); err != nil {
			return err
		}
	}
	id, err := s.AddGroup(b, a)
	if err != nil {
		return err
	}
	group, err := s.GetGroup(id)
	if err != nil || len(group) != 2 {
		return fmt.Errorf("a group of %d: %w", len(group), err)
	}
	for i, want := range []*os.File{b, a} {
		if err := isFile(group[i], want); err != nil {
			return err
		}
	}
	return nil
}

// useCatalog looks up files by name in an opened store, and in its copy.
func useCatalog(t *testing.T) error {
	s, err := fdstore.New(fdstore.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	a := memfile(t, "a")
	if _, err := s.AddNamed("the name", a); err != nil {
		return err
	}
	copied, err := fdstore.New(fdstore.Options{})
	if err != nil {
		return err
	}
	defer copied.Close()
	if err := s.CopyTo(copied); err != nil {
		return err
	}
	for _, from := range []*fdstore.Store{s, copied} {
		fd, err := unix.FcntlInt(uintptr(from.FD()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		opened, err := fdstore.Open(fd)
		if err != nil {
			return err
		}
		defer opened.Close()
		id, err := opened.Lookup("the name")
		if err != nil {
			return err
		}
		got, err := opened.Get(id)
		if err != nil {
			return err
		}
		if err := isFile(got, a); err != nil {
			return err
		}
		if all, err := opened.List(); err != nil || len(all) != 1 {
			return fmt.Errorf("a list of %d: %w", len(all), err)
		}
	}
	return nil
}

// useSeal gets files from a sealed store, and checks that nothing can be added to it.
func useSeal(t *testing.T) error {
	s, err := fdstore.New(fdstore.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	a := memfile(t, "a")
	id, err := s.Add(a)
	if err != nil {
		return err
	}
	if err := s.Seal(); err != nil {
		return err
	}
	if _, err := s.Add(a); err == nil {
		return fmt.Errorf("a file was added to a sealed store")
	}
	got, err := s.Get(id)
	if err != nil {
		return err
	}
	return isFile(got, a)
}
