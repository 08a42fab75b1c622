package e2e

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A cause is a real reason for which a restore fails.
type cause struct {
	name  string
	shell string                         // run before regrow
	tree  func(dir string) string        // added to the files and tasks of causeTree
	setup func(t *testing.T, dir string) // may be nil
	want  []string                       // parts of the message

	status int // of a restore in the foreground, 0: 125
}

// open is a folder that every user may read.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "regrow-cause")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// manyFiles returns n files of /dev/null that each task has.
func manyFiles(n int, tasks ...string) (files, fds string) {
	var f, d strings.Builder
	for i := range n {
		fmt.Fprintf(&f, "  f%d: {type: reg, path: /dev/null}\n", i)
	}
	for _, task := range tasks {
		fmt.Fprintf(&d, "      - name: %s\n        fds: {", task)
		for i := range n {
			fmt.Fprintf(&d, "%d: f%d, ", i+3, i)
		}
		d.WriteString("}\n")
	}
	return f.String(), d.String()
}

// causeTree is a tree that makes a file, cuts an existing one, and has more files and
// children.
func causeTree(dir, files, children string) string {
	return "version: 1\nfiles:\n" +
		"  made: {type: reg, path: " + dir + "/made, flags: [O_CREAT, O_RDWR], content: x}\n" +
		"  there: {type: reg, path: " + dir + "/there, flags: [O_WRONLY, O_TRUNC]}\n" + files +
		"tasks:\n  - name: root\n    fds: {0: made, 1: there}\n    children:\n      - name: first\n        fds: {0: made}\n" + children
}

const asNobody = "ulimit -c 0; set -- --reuid 61235 --regid 61235 --clear-groups \"$0\" \"$@\"; exec setpriv \"$@\""

// TestRealCauses makes restores fail for real reasons. The message must say what failed,
// where and why; nothing may be left, and the existing file must be unchanged.
func TestRealCauses(t *testing.T) {
	needRoot(t)
	for _, c := range []cause{
		{
			name: "full file system",
			setup: func(t *testing.T, dir string) {
				if err := unix.Mount("none", dir, "tmpfs", 0, "size=16k"); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
						t.Error(err)
					}
				})
			},
			tree: func(dir string) string {
				return causeTree(dir, "  big: {type: reg, path: "+dir+"/big, flags: [O_CREAT], content: "+strings.Repeat("x", 100_000)+"}\n",
					"      - {name: b, fds: {0: big}}\n")
			},
			want: []string{"tree.yaml:5:26: restore: task \"b\": make file \"big\"", "openat", "/big\"", "no space left on device"},
		},
		{
			name: "limit of 64 descriptors", shell: "ulimit -n 64",
			tree: func(dir string) string {
				files, a := manyFiles(50, "a", "b")
				more := strings.ReplaceAll(files, " f", " g")
				return causeTree(dir, files+more, a+strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(a, ": f", ": g"), "name: a", "name: c"), "name: b", "name: d"))
			},
			want: []string{"restore: the process that restores has 102 open files of the tree at once", "RLIMIT_NOFILE is 64", "ulimit -Hn"},

			status: 3,
		},
		{
			name: "another user's file", shell: asNobody,
			tree: func(dir string) string {
				return causeTree(dir, "  secret: {type: reg, path: "+dir+"/secret}\n", "      - {name: b, fds: {0: secret}}\n")
			},
			setup: func(t *testing.T, dir string) {
				if err := os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"tree.yaml:5:29: restore: task \"b\"", "make file \"secret\" for fd 0", "permission denied"},
		},
		{
			name: "files in flight", shell: "ulimit -n 64; " + asNobody,
			tree: func(dir string) string {
				files, _ := manyFiles(24)
				children := ""
				for i := range 5 { // each with a message of its own, because each lacks another file
					children += fmt.Sprintf("      - name: t%d\n        fds: {", i)
					for n := range 24 {
						if n != i {
							children += fmt.Sprintf("%d: f%d, ", n+3, n)
						}
					}
					children += "}\n"
				}
				return causeTree(dir, files, children)
			},
			want: []string{"put ", "into the store", "too many references", "the soft RLIMIT_NOFILE, here 64", "ulimit -n"},
		},
		{
			name: "not executable",
			setup: func(t *testing.T, dir string) {
				if err := os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			},
			tree: func(dir string) string { return causeTree(dir, "", "      - {name: b, run: ["+dir+"/script]}\n") },
			want: []string{"tree.yaml:11:25: restore: task \"b\": look up program", "/script\": no right to execute it", ": permission denied\n"},

			status: 126,
		},
		{
			name: "a folder for a program",
			tree: func(dir string) string { return causeTree(dir, "", "      - {name: b, run: ["+dir+"]}\n") },
			want: []string{"tree.yaml:11:25: restore: task \"b\": look up program", "a directory: permission denied\n"},

			status: 126,
		},
		{
			name: "a device for a program",
			tree: func(dir string) string { return causeTree(dir, "", "      - {name: b, run: [/dev/null]}\n") },
			want: []string{"tree.yaml:11:25: restore: task \"b\": look up program", ": not a regular file: permission denied\n"},

			status: 126,
		},
		{
			name: "a device for a program, found by the task",
			tree: func(dir string) string {
				return strings.Replace(causeTree(dir, "", "      - {name: b, run: [/dev/null]}\n"), "files:", "namespaces: [user, pid]\nfiles:", 1)
			},
			want: []string{"tree.yaml:12:25: restore: task \"b\"", ": not a regular file: permission denied\n"},

			status: 126,
		},
		{
			name: "no interpreter",
			setup: func(t *testing.T, dir string) {
				if err := os.WriteFile(filepath.Join(dir, "script"), []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			},
			tree: func(dir string) string {
				return causeTree(dir, "", "      - {name: b, run: ["+dir+"/script]}\n")
			},
			want: []string{"tree.yaml:11:25: restore: task \"b\"", "run: execve", "script\": its interpreter \"/no/such/interpreter\": no such file or directory\n"},

			status: 127,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := openFolder(t)
			if c.setup != nil {
				c.setup(t, dir)
			}
			there := filepath.Join(dir, "there")
			if err := os.WriteFile(there, []byte("there"), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(there, 0o666); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(openFolder(t), "tree.yaml")
			if err := os.WriteFile(path, []byte(c.tree(dir)), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, detach := range []bool{false, true} {
				args, want := []string{"restore", path}, cmp.Or(c.status, 125)
				if detach {
					args = []string{"restore", "-d", path}
					if want != 3 { // which is detected beforehand
						want = 1
					}
				}
				res := wait(t, start(t, c.shell, args...))
				if res.status != want {
					t.Errorf("status %d, want %d", res.status, want)
				}
				for _, w := range c.want {
					if !strings.Contains(res.errors, w) {
						t.Errorf("no %q in the message: %s", w, res.errors)
					}
				}
				noDescendants(t)
				if text, err := os.ReadFile(there); err != nil || string(text) != "there" {
					t.Errorf("the existing file has %q, %v", text, err)
				}
				for _, name := range []string{"made", "big"} {
					if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
						t.Errorf("%s, which the restore made, is still there", name)
					}
				}
			}
		})
	}
}

// inCgroup makes a cgroup with a limit and returns shell commands that enter it. It
// supports both versions of cgroups.
func inCgroup(t *testing.T, file, limit string) string {
	t.Helper()
	for _, base := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
		dir := filepath.Join(base, "regrow-test-"+strconv.Itoa(os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(limit), 0o644); err != nil {
			_ = os.Remove(dir)
			continue
		}
		t.Cleanup(func() {
			within(t, "the cgroup's end", func() bool { return os.Remove(dir) == nil })
		})
		return "echo $$ > " + dir + "/cgroup.procs"
	}
	need(t, "a cgroup with a limit of memory")
	return ""
}

// TestOutOfMemory restores a tree in a cgroup that is too small for it. The
// kernel kills regrow or a task, and nothing is left.
func TestOutOfMemory(t *testing.T) {
	needRoot(t)
	limit := "memory.max"
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err == nil {
		limit = "memory.limit_in_bytes"
	}
	var b strings.Builder
	b.WriteString("version: 1\ntasks:\n  - name: root\n    children:\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "      - {name: t%d}\n", i)
	}
	path := write(t, b.String())
	res := wait(t, start(t, inCgroup(t, limit, strconv.Itoa(32<<20)), "restore", path))
	if res.status != 125 && res.status != 137 {
		t.Errorf("status %d, want 125 or 137: %s", res.status, res.errors)
	}
	within(t, "the end of all tasks", func() bool {
		for _, pid := range children() {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
		return len(children()) == 0
	})
}

// TestVanishes removes a file between its check and its use.
func TestVanishes(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	path := write(t, "version: 1\nfiles: {f: {type: reg, path: "+folder+"}}\ntasks: [{name: a, fds: {3: f}}]\n")
	if res := run(t, "check", path); res.status != 0 {
		t.Fatalf("check: status %d: %s", res.status, res.errors)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if res := run(t, "restore", "-d", path); res.status != 1 || !strings.Contains(res.errors, "no such file or directory") {
		t.Errorf("detached: status %d: %s", res.status, res.errors)
	}
	res := run(t, "restore", path)
	if res.status != 125 || !strings.Contains(res.errors, `tree.yaml:2:30: restore: task "a"`) || !strings.Contains(res.errors, "no such file or directory") {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	noDescendants(t)

	// A program that is removed between its lookup and its exec.
	program := filepath.Join(dir, "program")
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\ntasks:\n  - name: root\n    children:\n      - {name: b, run: [%s]}\n", program)
	for i := range 500 {
		fmt.Fprintf(&b, "      - {name: t%d}\n", i)
	}
	path = write(t, b.String())
	for range 100 { // until the program is removed in time
		if err := os.WriteFile(program, []byte("#!/bin/sh\nsleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		r := start(t, "", "restore", "--json", "--log-level", "info", path)
		within(t, "files made", func() bool { return r.logged("files made") })
		if err := os.Remove(program); err != nil {
			t.Fatal(err)
		}
		res := termAtReport(t, r)
		noDescendants(t)
		if res.status == 127 && strings.Contains(res.errors, `tree.yaml:5:`) && strings.Contains(res.errors, "run: execve") {
			return
		}
		if res.status != 143 {
			t.Fatalf("status %d: %s", res.status, res.errors)
		}
	}
	t.Error("the program was never removed in time")
}
