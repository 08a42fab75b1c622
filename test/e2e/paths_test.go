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

// linked gives a folder with links to what is another thing for each process.
func linked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, target := range map[string]string{
		"out": "/dev/stdout", "in": "/dev/stdin", "tty": "/dev/tty", "status": "/proc/self/status", "root": "/proc/self/root",
		"exe": "/proc/self/exe", "cwd": "/proc/thread-self/cwd", "store": "/proc/self/fd/3", "proc": "/proc", "loop": "loop", "plain": "file",
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

// TestPathsOfAnotherProcess refuses a path that would be another file, folder or
// program for each process that opens it, however it leads there, whoever opens it, with
// each strategy in turn: with the same words, and nothing is left.
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
					continue // no user namespaces here
				}
				task := strings.Contains(res.errors, `task "a"`) || use == "shared" || use == "truncated"
				if res.status != 1 || !strings.Contains(res.errors, "tree.yaml:3:") || !task {
					t.Errorf("%s, %s: status %d: %s", use, strategies[n%3], res.status, res.errors)
				}
				nobody(t)
				if strings.HasPrefix(use, "folder") && strings.HasSuffix(res.errors, unix.ENOTDIR.Error()+"\n") {
					continue // that comes first
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

// TestPathsOfNobody restores what is on a procfs and belongs to no process, and links
// that lead nowhere special.
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

// TestProcElsewhere has a procfs, and parts of one, mounted at other places than /proc.
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

// TestKeepsNofollow holds that O_NOFOLLOW stays among the flags of a file, whoever
// opens it, and O_NONBLOCK does not get there.
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
			nobody(t)
		}
	}
}

// TestNofollowWaits holds that a file which somebody has a lease of is waited for, as
// open does, though it is opened with O_NONBLOCK for a while.
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
		within(t, "the end of the lease that is asked for", func() bool { return breaking(t, f) })
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

// flagsOf gives the flags that the kernel shows of a descriptor.
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
