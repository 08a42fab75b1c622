package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// strategies are all ways to get open files into tasks.
var strategies = []string{"fdstore", "service", "inherit"}

// linked returns a folder with links to files that differ for each process.
func linked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, target := range map[string]string{
		"out": "/dev/stdout", "in": "/dev/stdin", "tty": "/dev/tty", "status": "/proc/self/status", "root": "/proc/self/root",
		"exe": "/proc/self/exe", "cwd": "/proc/thread-self/cwd", "store": "/proc/self/fd/3", "proc": "/proc", "loop": "loop", "plain": "file", "here": ".",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("plain"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pathUsers are descriptions of each use of a path, on line 3.
func pathUsers(path string) map[string]string {
	file := func(flags, rest string) string {
		return fmt.Sprintf("version: 1\nfiles:\n  f: {type: reg, path: %s, flags: [%s]}\ntasks: [{name: root, children: [{name: a, fds: {4: f}}%s]}]\n", path, flags, rest)
	}
	const shared = ", {name: b, fds: {3: f}}"
	return map[string]string{
		"private":         file("O_RDONLY", ""),
		"shared":          file("O_RDONLY", shared),
		"created":         file("O_RDWR, O_CREAT", ""),
		"truncated":       file("O_WRONLY, O_TRUNC", shared),
		"only a place":    file("O_PATH", ""),
		"program":         fmt.Sprintf("version: 1\ntasks: [{name: root, children: [{name: a,\n  run: [%s]}]}]\n", path),
		"folder":          fmt.Sprintf("version: 1\ntasks: [{name: root, children: [{name: a,\n  cwd: %s}]}]\n", path),
		"program of user": fmt.Sprintf("version: 1\nnamespaces: [user, pid]\ntasks: [{name: root, children: [{name: a, run: [%s]}]}]\n", path),
		"folder of user":  fmt.Sprintf("version: 1\nnamespaces: [user, pid]\ntasks: [{name: root, children: [{name: a, cwd: %s}]}]\n", path),
	}
}

// TestPathsOfAnotherProcess checks that a path is refused if it leads to a different file,
// folder or program in each process: by any route, for any opener, with each strategy in
// turn. The message must always be the same, and nothing may be left.
func TestPathsOfAnotherProcess(t *testing.T) {
	dir := linked(t)
	regrow, err := filepath.EvalSymlinks("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range []string{
		dir + "/out", dir + "/in", dir + "/tty", dir + "/status", dir + "/store", dir + "/exe", dir + "/root" + regrow, dir + "/root",
		dir + "/cwd", dir + "/proc/self/fd/2", dir + "/proc/1/status", dir + "/proc/1", "/proc/mounts", "/proc/1/environ",
		"/proc/123456789/exe", dir + "/root/nowhere",
	} {
		t.Run(path, func(t *testing.T) {
			words := map[string]bool{}
			for use, yaml := range pathUsers(path) {
				n++
				res := run(t, "restore", "-d", "--strategy", strategies[n%3], write(t, yaml))
				if strings.Contains(res.errors, "host: ") && strings.HasSuffix(use, "of user") {
					continue // this host has no user namespaces
				}
				task := strings.Contains(res.errors, `task "a"`) || use == "shared" || use == "truncated"
				if res.status != 1 || !strings.Contains(res.errors, "tree.yaml:3:") || !task {
					t.Errorf("%s, %s: status %d: %s", use, strategies[n%3], res.status, res.errors)
				}
				noDescendants(t)
				if strings.HasPrefix(use, "folder") && strings.HasSuffix(res.errors, unix.ENOTDIR.Error()+"\n") {
					continue // this error takes precedence
				}
				_, why, _ := strings.Cut(res.errors, "would mean another process (")
				words[why] = true
			}
			for why := range words {
				if len(words) != 1 || !strings.Contains(why, "{type: inherit, key: ") {
					t.Errorf("the messages end with %v", words)
					break
				}
			}
		})
	}
}

// TestPathsOfNobody restores files on a procfs that belong to no process, and ordinary
// links.
func TestPathsOfNobody(t *testing.T) {
	dir := linked(t)
	for _, path := range []string{dir + "/plain", "/proc/sys/kernel/pid_max", "/proc/uptime", dir + "/proc/uptime", "/proc/irq/0/smp_affinity", "/proc", "/sys/kernel", "/dev/null"} {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			continue // not on this machine
		}
		for _, strategy := range strategies {
			yaml := fmt.Sprintf("version: 1\nfiles:\n  f: {type: reg, path: %[1]s}\n  g: {type: reg, path: %[1]s}\ntasks: [{name: root, fds: {3: f, 4: g}, children: [{name: a, fds: {3: f}}]}]\n", path)
			rep := detached(t, write(t, yaml), "--strategy", strategy)
			for _, fd := range []int{3, 4} {
				var got unix.Stat_t
				if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", rep.Tasks[0].HostPID, fd), &got); err != nil || got.Dev != st.Dev || got.Ino != st.Ino {
					t.Errorf("%s, %s: fd %d has another file: %v", path, strategy, fd, err)
				}
			}
			endTree(t)
		}
	}
	for _, cwd := range []string{"/proc", dir + "/proc", "/proc/sys", dir} {
		rep := detached(t, write(t, fmt.Sprintf("version: 1\ntasks: [{name: root, cwd: %s}]\n", cwd)))
		real, _ := filepath.EvalSymlinks(cwd)
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", rep.Tasks[0].HostPID)); err != nil || got != real {
			t.Errorf("%s: in %q, %v", cwd, got, err)
		}
		endTree(t)
	}
}

// TestProcElsewhere has a procfs, and parts of one, mounted at other paths than /proc.
func TestProcElsewhere(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	mounts := fmt.Sprintf("unshare -m true || exit 99\ncd %q && mkdir -p again fresh one sys 'a b' && touch file && "+
		"set -- unshare -m sh -c 'mount --make-rprivate / && mount --bind /proc again && mount -t proc proc fresh && mount --bind /proc/self/net one && "+
		"mount --bind /proc/sys sys && mount --bind /proc/1/limits file && mount --bind /proc \"a b\" && exec \"$0\" \"$@\"' \"$0\" \"$@\"; exec \"$@\"", dir)
	for path, refused := range map[string]bool{
		"again/uptime": false, "again/1/status": true, "again/self/status": true, "again/sys/kernel/pid_max": false,
		"fresh/uptime": false, "fresh/1/status": true, "fresh/self/status": true,
		"one/dev": true, "sys/kernel/pid_max": false, "file": true,
		`"a b/uptime"`: false, `"a b/1/status"`: true,
	} {
		for sharer, rest := range map[string]string{"private": "", "shared": ", children: [{name: a, fds: {3: f}}]"} {
			path := strings.Replace(path, `"`, `"`+dir+"/", 1)
			if path[0] != '"' {
				path = dir + "/" + path
			}
			yaml := fmt.Sprintf("version: 1\nfiles: {f: {type: reg, path: %s}}\ntasks: [{name: root, fds: {3: f}, run: ['true']%s}]\n", path, rest)
			res := wait(t, start(t, mounts, "restore", write(t, yaml)))
			if res.status == 99 {
				need(t, "mount namespaces")
			}
			if got := strings.Contains(res.errors, "would mean another process"); got != refused || !refused && res.status != 0 {
				t.Errorf("%s, %s: status %d, want refused %v: %s", path, sharer, res.status, refused, res.errors)
			}
		}
	}
}

// TestKeepsNofollow checks that O_NOFOLLOW stays among the flags of a file, opened by a
// task or by regrow, and that O_NONBLOCK is not added.
func TestKeepsNofollow(t *testing.T) {
	dir := linked(t)
	for _, flags := range []string{
		"O_NOFOLLOW", "O_RDWR, O_NOFOLLOW, O_APPEND", "O_RDONLY, O_NOFOLLOW, O_NONBLOCK", "O_RDWR, O_CREAT, O_NOFOLLOW",
		"O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK", "O_WRONLY, O_TRUNC, O_NOFOLLOW", "O_RDWR, O_NOFOLLOW, O_SYNC, O_NOATIME", "O_PATH, O_NOFOLLOW",
	} {
		for _, strategy := range strategies {
			yaml := fmt.Sprintf("version: 1\nfiles:\n  f: {type: reg, path: %[1]s/file, flags: [%[2]s]}\n  g: {type: reg, path: %[1]s/file, flags: [%[2]s]}\n"+
				"tasks: [{name: root, fds: {3: f, 4: g}, children: [{name: a, fds: {3: f}}]}]\n", dir, flags)
			rep := detached(t, write(t, yaml), "--strategy", strategy)
			for _, fd := range []int{3, 4} {
				got := flagsOf(t, rep.Tasks[0].HostPID, fd)
				for name, bit := range map[string]int{"O_NOFOLLOW": unix.O_NOFOLLOW, "O_NONBLOCK": unix.O_NONBLOCK, "O_APPEND": unix.O_APPEND, "O_SYNC": unix.O_SYNC, "O_NOATIME": unix.O_NOATIME} {
					if has, want := got&bit == bit, strings.Contains(flags, name); has != want {
						t.Errorf("%s, %s: fd %d has the flags %#o: %s is %v", flags, strategy, fd, got, name, has)
					}
				}
			}
			endTree(t)
		}
	}
	for flags, want := range map[string]string{"O_NOFOLLOW": "O_NOFOLLOW follows none", "O_RDWR, O_CREAT, O_NOFOLLOW": "O_NOFOLLOW follows none"} {
		for _, rest := range []string{"", ", children: [{name: a, fds: {3: f}}]"} {
			yaml := fmt.Sprintf("version: 1\nfiles: {f: {type: reg, path: %s/plain, flags: [%s]}}\ntasks: [{name: root, fds: {3: f}%s}]\n", dir, flags, rest)
			if res := run(t, "restore", "-d", write(t, yaml)); res.status != 1 || !strings.Contains(res.errors, want) {
				t.Errorf("a link: status %d: %s", res.status, res.errors)
			}
			noDescendants(t)
		}
	}
}

// TestNofollowWaits checks that opening a file with a lease waits, as open(2) does,
// although it is first opened with O_NONBLOCK.
func TestNofollowWaits(t *testing.T) {
	dir := linked(t)
	f, err := os.OpenFile(dir+"/file", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sharer, rest := range map[string]string{"private": "", "shared": ", children: [{name: a, fds: {3: f}}]"} {
		lease(t, f)
		yaml := fmt.Sprintf("version: 1\nfiles: {f: {type: reg, path: %s/file, flags: [O_NOFOLLOW]}}\ntasks: [{name: root, fds: {3: f}%s}]\n", dir, rest)
		r := start(t, "", "restore", "-d", "--json", write(t, yaml))
		within(t, "the end of the lease that is asked for", func() bool { return leased(t, f) == "BREAKING" })
		time.Sleep(50 * time.Millisecond)
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
			t.Fatal(err)
		}
		rep := report(t, wait(t, r))
		if got := flagsOf(t, rep.Tasks[0].HostPID, 3); got&unix.O_NOFOLLOW == 0 || got&unix.O_NONBLOCK != 0 {
			t.Errorf("%s: flags %#o", sharer, got)
		}
		endTree(t)
	}
}

// flagsOf returns the flags of a descriptor, from the kernel.
func flagsOf(t *testing.T, pid, fd int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if octal, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseInt(strings.TrimSpace(octal), 8, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(flags)
		}
	}
	t.Fatalf("no flags in %q", text)
	return 0
}

// TestWithoutOpenat2 restores where a sandbox refuses openat2: paths without a link must
// work, and for a path with a link regrow must print a remedy before anything is started.
func TestWithoutOpenat2(t *testing.T) {
	dir := linked(t)
	if real, err := filepath.EvalSymlinks(dir); err != nil || real != dir {
		t.Skip("the temporary folder is behind a link itself")
	}
	program := dir + "/program"
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, dir+"/linked"); err != nil {
		t.Fatal(err)
	}
	for _, errno := range []unix.Errno{unix.ENOSYS, unix.EPERM} {
		sandbox := inSandbox(t, errno, openat2Instead)
		for _, strategy := range strategies {
			yaml := fmt.Sprintf("version: 1\nfiles:\n  f: {type: reg, path: %[1]s/file, flags: [O_RDWR, O_NOFOLLOW]}\n  g: {type: reg, path: /proc/uptime}\n"+
				"  n: {type: reg, path: %[1]s/new, flags: [O_RDWR, O_CREAT]}\n"+
				"tasks: [{name: root, fds: {3: f, 4: g, 5: n}, cwd: %[1]s, run: [%[2]s], children: [{name: a, fds: {4: g}}]}]\n", dir, program)
			if res := wait(t, start(t, sandbox, "restore", "--strategy", strategy, write(t, yaml))); res.status != 7 {
				t.Errorf("%v, %s: status %d, want 7: %s", errno, strategy, res.status, res.errors)
			}
		}
		for use, yaml := range pathUsers(dir + "/linked") {
			if strings.HasPrefix(use, "folder") {
				continue
			}
			for _, args := range [][]string{{"restore", "-d"}, {"restore"}, {"check", "--host"}} {
				res := wait(t, start(t, sandbox, append(args, write(t, yaml))...))
				if strings.HasSuffix(use, "of user") && strings.Contains(res.errors, "user namespace is refused") {
					continue
				}
				if res.status != 3 || !strings.Contains(res.errors, "tree.yaml:3:") || !strings.Contains(res.errors, "allow openat2 there") {
					t.Errorf("%v, %s: %v: status %d, want 3: %s", errno, use, args, res.status, res.errors)
				}
			}
		}
		// Other paths are refused as usual.
		for use, yaml := range pathUsers("/proc/1/status") {
			if strings.HasPrefix(use, "folder") || strings.HasSuffix(use, "of user") {
				continue
			}
			res := wait(t, start(t, sandbox, "restore", "-d", write(t, yaml)))
			if res.status != 1 || !strings.Contains(res.errors, "would mean another process") {
				t.Errorf("%v, %s: status %d, want 1: %s", errno, use, res.status, res.errors)
			}
		}
		noDescendants(t)
	}
}

// TestAllMissing checks that check --host and a failed restore report everything that is
// wrong with paths, folders and programs at once, each with its line, and nothing else.
func TestAllMissing(t *testing.T) {
	dir := linked(t)
	if err := os.WriteFile(dir+"/closed", nil, 0); err != nil {
		t.Fatal(err)
	}
	yaml := fmt.Sprintf(`version: 1
files:
  a: {type: reg, path: %[1]s/missing-a}
  b: {type: reg, path: %[1]s/missing-b, flags: [O_RDWR]}
  c: {type: reg, path: %[1]s/nowhere/c, flags: [O_RDWR, O_CREAT]}
  d: {type: reg, path: %[1]s/file, flags: [O_RDWR, O_CREAT], content: x}
  e: {type: reg, path: %[1]s, flags: [O_WRONLY]}
  f: {type: reg, path: %[1]s/loop}
  g: {type: reg, path: %[1]s/exe}
  h: {type: reg, path: %[1]s/plain, flags: [O_NOFOLLOW]}
  made: {type: reg, path: %[1]s/made, flags: [O_RDWR, O_CREAT], content: "#!/bin/sh
", mode: 0755}
  again: {type: reg, path: %[1]s/here/made}
  unused: {type: reg, path: %[1]s/missing-unused}
  there: {type: reg, path: %[1]s/file}
tasks:
  - name: root
    fds: {3: a, 4: b, 5: c, 6: d, 7: e, 8: f, 9: g, 10: h, 11: made, 12: again, 14: there}
    children:
      - {name: k, fds: {3: b},
         cwd: %[1]s/missing-cwd}
      - name: l
        cwd: %[1]s/missing-cwd
      - name: m
        run: [no-such-program]
      - name: n
        run: [%[1]s/file]
      - name: o
        run: [%[1]s/made]
      - name: p
        cwd: %[1]s
        run: ['true']
`, dir)
	want := map[int]string{
		3: "no such file", 4: "no such file", 5: "no such file", 6: "file exists", 7: "is a directory", 8: "too many levels",
		9: "would mean another process", 10: "O_NOFOLLOW follows none", 21: "no such file", 23: "no such file", 25: "no such file", 27: "permission denied",
	}
	path := write(t, yaml)
	for _, c := range []struct {
		status int
		args   []string
	}{{3, []string{"check", "--host"}}, {125, []string{"restore"}}, {1, []string{"restore", "-d"}}, {1, []string{"restore", "-d", "--strategy", "inherit"}}} {
		res := run(t, append(c.args, path)...)
		if res.status != c.status {
			t.Errorf("%v: status %d, want %d", c.args, res.status, c.status)
		}
		got, last := map[int]bool{}, 0
		for line := range strings.Lines(res.errors) {
			rest, ok := strings.CutPrefix(line, path+":")
			if !ok || strings.Contains(line, ": warning: ") {
				continue
			}
			number, message, _ := strings.Cut(rest, ":")
			n, err := strconv.Atoi(number)
			if err != nil || want[n] == "" || !strings.Contains(message, want[n]) || got[n] {
				t.Errorf("%v: line %s is wrong here: %s", c.args, number, line)
			}
			if got[n] = true; n < last {
				t.Errorf("%v: line %d comes after line %d", c.args, n, last)
			}
			last = n
		}
		for n, words := range want {
			if !got[n] {
				t.Errorf("%v: nothing about line %d, %s:\n%s", c.args, n, words, res.errors)
			}
		}
		for _, name := range []string{"made", "nowhere"} {
			if _, err := os.Lstat(dir + "/" + name); err == nil {
				t.Errorf("%v: %s exists", c.args, name)
			}
		}
		noDescendants(t)
	}
}

// TestOnlyOneMissing checks that a restore with one missing path reports it in one line,
// and that check --host prints nothing if no path is missing.
func TestOnlyOneMissing(t *testing.T) {
	dir := linked(t)
	tree := "version: 1\nfiles:\n  a: {type: reg, path: " + dir + "/%s}\n  b: {type: reg, path: " + dir + "/new, flags: [O_CREAT, O_EXCL, O_RDWR]}\n" +
		"  n: {type: reg, path: /dev/null}\ntasks: [{name: root, fds: {0: n, 1: n, 2: n, 3: a, 4: b}, cwd: " + dir + ", run: ['true']}]\n"
	missing := write(t, fmt.Sprintf(tree, "missing"))
	for _, args := range [][]string{{"check", "--host", missing}, {"restore", missing}} {
		res := run(t, args...)
		if n := strings.Count(res.errors, "tree.yaml:"); n != 1 || !strings.Contains(res.errors, "tree.yaml:3:") || !strings.Contains(res.errors, "no such file or directory") {
			t.Errorf("%v: %d messages: %s", args, n, res.errors)
		}
	}
	if res := run(t, "check", "--host", write(t, fmt.Sprintf(tree, "file"))); res.status != 0 {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	if _, err := os.Lstat(dir + "/new"); err == nil {
		t.Error("check has made a file")
	}
}
