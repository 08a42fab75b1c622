package e2e

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/restore"
)

func TestHeldExamples(t *testing.T) {
	needRoot(t)
	for _, name := range []string{"swap", "dense", "sparse", "prefork", "namespace"} {
		for _, strategy := range restore.Strategies() {
			t.Run(name+", "+strategy.String(), func(t *testing.T) {
				path := "../../examples/" + name + ".yaml"
				rep := detached(t, path, "--strategy", strategy.String())
				for _, p := range prove(wantOf(t, path), rep) {
					t.Error(p)
				}
				if name == "namespace" {
					got := fmt.Sprint(rep.Tasks[0].PID, rep.Tasks[1].PID, rep.Tasks[2].PID, rep.Tasks[3].PID)
					if got != "1 4711 815 30000" {
						t.Errorf("pids %s", got)
					}
				}
			})
		}
	}
}

func TestPipeline(t *testing.T) {
	for _, strategy := range restore.Strategies() {
		res := run(t, "restore", "--strategy", strategy.String(), "../../examples/pipeline.yaml")
		if res.status != 0 || res.out != "1000\n" {
			t.Errorf("%s: status %d, out %q, errors %q", strategy, res.status, res.out, res.errors)
		}
	}
}

func TestSharedLog(t *testing.T) {
	const log = "/tmp/regrow-shared.log"
	defer os.Remove(log)
	if res := run(t, "restore", "../../examples/shared-log.yaml"); res.status != 0 {
		t.Fatalf("status %d: %s", res.status, res.errors)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(text))
	if last := lines[len(lines)-1]; last != "last" {
		t.Errorf("the last line is %q", last)
	}
	slices.Sort(lines)
	if got := strings.Join(lines, " "); got != "first last second" {
		t.Errorf("the log has %q", got)
	}
}

func TestFailures(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(dir, "sock")
	if l, err := net.Listen("unix", sock); err != nil {
		t.Fatal(err)
	} else {
		defer l.Close()
	}
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o700); err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(dir, "made")
	tree := func(files, child string) string {
		return "version: 1\nfiles:\n  made: {type: reg, path: " + made + ", flags: [O_CREAT, O_RDWR], content: x}\n" +
			"  old: {type: reg, path: " + there + ", flags: [O_TRUNC, O_WRONLY]}\n" + files +
			"tasks:\n  - name: init\n    fds: {3: made, 4: old}\n    children:\n      - {name: bad, " + child + "}\n"
	}
	for _, c := range []struct {
		name, yaml string
		want       []string
		host       bool // a limit that is detected beforehand
	}{
		{"missing file", tree("  f: {type: reg, path: /nonexistent/x}\n", "fds: {5: f}"), []string{":5:", `task "bad"`, "fd 5", "openat", "no such file"}, false},
		{"fifo", tree("  f: {type: reg, path: "+fifo+"}\n", "fds: {5: f}"), []string{`task "bad"`, "FIFO"}, false},
		{"missing program", tree("", "run: [no-such-program]"), []string{`task "bad"`, "no-such-program", "no such file"}, false},
		{"not a program", tree("", "run: ["+junk+"]"), []string{`task "bad"`, "execve", "exec format error"}, false},
		{"missing folder", tree("", "cwd: /nonexistent"), []string{`task "bad"`, "chdir", "no such file"}, false},
		{"content and there", tree("  f: {type: reg, path: "+there+", flags: [O_CREAT, O_RDWR], content: y}\n", "fds: {5: f}"), []string{"file exists"}, false},
		{"socket", tree("  f: {type: reg, path: "+sock+"}\n", "fds: {5: f}"), []string{":5:", `task "bad"`, "fd 5", "socket"}, false},
		{"not there, shared", tree("  f: {type: reg, path: /nonexistent/x}\n", "fds: {5: f, 6: f}, children: [{name: b, fds: {7: f}}]"), []string{":5:", `make file "f"`, "openat", "no such file"}, false},
		{"exclusive and there", tree("  f: {type: reg, path: "+there+", flags: [O_CREAT, O_EXCL, O_RDWR]}\n", "fds: {5: f}"), []string{":5:", `make file "f"`, "file exists"}, false},
		{"a folder", tree("  f: {type: reg, path: "+dir+", flags: [O_RDWR]}\n", "fds: {5: f}"), []string{`task "bad"`, "is a directory"}, false},
		{"no folder", tree("  f: {type: reg, path: "+junk+", flags: [O_DIRECTORY]}\n", "fds: {5: f}"), []string{`task "bad"`, "not a directory"}, false},
		{"no folder to create in", tree("  f: {type: reg, path: /nonexistent/x, flags: [O_CREAT]}\n", "fds: {5: f}"), []string{":5:", "no such file"}, false},
		{"capacity", tree("  f: {type: pipe, capacity: 2000000000}\n", "fds: {5: f.r}"), []string{":5:", "F_SETPIPE_SZ", "pipe-"}, !capable(t, unix.CAP_SYS_RESOURCE)},
		{"no room", tree("", "fds: {1000000000: made}"), []string{"fd 1000000000", "RLIMIT_NOFILE"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.yaml)
			if err := os.WriteFile(there, []byte("keep me"), 0o600); err != nil {
				t.Fatal(err)
			}
			status := map[string]int{"missing program": 127, "not a program": 126}[c.name]
			detached := 1
			if c.host {
				status, detached = 3, 3
			}
			for _, how := range []struct {
				status int
				args   []string
			}{{cmp.Or(status, 125), []string{"restore", path}}, {detached, []string{"restore", "-d", path}}} {
				res := run(t, how.args...)
				if res.status != how.status {
					t.Errorf("status %d, want %d: %s", res.status, how.status, res.errors)
				}
				for _, want := range c.want {
					if !strings.Contains(res.errors, want) {
						t.Errorf("the message does not say %q: %s", want, res.errors)
					}
				}
				if left := children(); len(left) > 0 {
					t.Errorf("left behind: %v", left)
					endTree(t)
				}
				if c.name != "not a program" { // it fails after the commit point
					if text, _ := os.ReadFile(there); string(text) != "keep me" {
						t.Errorf("the existing file has %q now", text)
					}
				}
				if _, err := os.Stat(made); err == nil {
					t.Error("the created file is still there")
					_ = os.Remove(made)
				}
			}
		})
	}
}

// TestFewDescriptors restores under hard limits that are too low for the tree.
func TestFewDescriptors(t *testing.T) {
	var files strings.Builder
	var low, high strings.Builder // 40 descriptors each
	for i := range 80 {
		fmt.Fprintf(&files, "  f%d: {type: reg, path: /dev/null}\n", i)
		fmt.Fprintf([]*strings.Builder{&low, &high}[i/40], "%d: f%d, ", i%40, i)
	}
	yaml := "version: 1\nfiles:\n" + files.String() + "tasks:\n  - name: root\n    fds: {" + low.String() + "}\n    children:\n"
	for i, fds := range []string{low.String(), high.String(), high.String()} {
		yaml += fmt.Sprintf("      - {name: t%d, fds: {%s}}\n", i, fds)
	}
	for limit, want := range map[int][]string{
		30: {":85:", `task "root"`, "fd 30", "the hard RLIMIT_NOFILE is 30", "ulimit -Hn"},
		60: {"80 open files of the tree at once", "the hard RLIMIT_NOFILE is 60", "ulimit -Hn"}, // the shared ones, in regrow
	} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			res := wait(t, start(t, fmt.Sprintf("ulimit -Sn %d; ulimit -Hn %d", limit, limit), "restore", "-d", write(t, yaml)))
			if res.status != 3 {
				t.Errorf("status %d, want 3: %s", res.status, res.errors)
			}
			for _, want := range want {
				if !strings.Contains(res.errors, want) {
					t.Errorf("the message does not say %q: %s", want, res.errors)
				}
			}
			noDescendants(t)
		})
	}
}

func TestPIDInUse(t *testing.T) {
	needRoot(t)
	path := write(t, fmt.Sprintf("version: 1\ntasks: [{name: a, children: [{name: b, pid: %d}]}]\n", os.Getpid()))
	res := run(t, "restore", path)
	if res.status != 125 || !strings.Contains(res.errors, "in use by") {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
}

func TestStatuses(t *testing.T) {
	run7 := write(t, "version: 1\ntasks: [{name: a, run: [sh, -c, exit 7], children: [{name: b}]}]\n")
	if res := run(t, "restore", run7); res.status != 7 {
		t.Errorf("status %d, want the root's 7: %s", res.status, res.errors)
	}
	if res := run(t, "restore", write(t, "version: 2\n")); res.status != 2 {
		t.Errorf("status %d for an invalid description, want 2", res.status)
	}
	if res := run(t, "restroe"); res.status != 2 || !strings.Contains(res.errors, "restore") {
		t.Errorf("status %d for an unknown command: %s", res.status, res.errors)
	}
}

// wideTree describes a root with n held children.
func wideTree(tasks int) string {
	var b strings.Builder
	b.WriteString("version: 1\ntasks:\n  - name: root\n    children:\n")
	for i := range tasks {
		fmt.Fprintf(&b, "      - {name: t%d}\n", i)
	}
	return b.String()
}

func writeWide(t *testing.T, tasks int) string {
	t.Helper()
	return write(t, wideTree(tasks))
}

// TestKilledRunner kills regrow at some moments of a restore: either nothing may be left,
// or the whole tree must live.
func TestKilledRunner(t *testing.T) {
	const tasks, moments = 30, 20
	path := writeWide(t, tasks)
	for i := range moments {
		r := start(t, "", "restore", path)
		time.Sleep(time.Duration(i) * 4 * time.Millisecond)
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		within(t, fmt.Sprintf("moment %d: all or nothing", i), func() bool {
			reapOrphans()
			left := children()
			return len(left) == 0 || len(left) == 1 && len(childrenOf(left[0])) == tasks
		})
		endTree(t)
	}
}

// TestKilledChild kills a task as soon as it is visible, if possible before its first
// step. The restore may fail or succeed, but must not wait for the task.
func TestKilledChild(t *testing.T) {
	const tasks, rounds, most = 300, 8, 200
	path := writeWide(t, tasks)
	died, n := 0, 0
	for ; n < rounds || died == 0 && n < most; n++ { // a busy machine may kill too late
		r := start(t, "", "restore", "-d", path)
		over, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			killNewest(r.cmd.Process.Pid, over)
		}()
		res := wait(t, r)
		close(over)
		<-done
		switch {
		case res.status == 1 && strings.Contains(res.errors, "died before release"):
			died++
			noDescendants(t)
		case res.status != 0:
			t.Errorf("status %d: %s", res.status, res.errors)
		}
		endTree(t)
	}
	t.Logf("%d of %d restores were hit before release", died, n)
	if died == 0 {
		t.Error("no restore was hit")
	}
}

// killNewest kills the newest grandchild of a process as soon as there is one, or gives up
// when the restore is over.
func killNewest(pid int, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		default:
		}
		for _, root := range childrenOf(pid) {
			if below := childrenOf(root); len(below) > 0 {
				_ = unix.Kill(below[len(below)-1], unix.SIGKILL)
				return
			}
		}
	}
}

// TestNestedStore restores a tree whose store has shards and branches, and checks it with
// the kernel.
func TestNestedStore(t *testing.T) {
	needRoot(t)
	const tasks = 1200
	var b strings.Builder
	b.WriteString("version: 1\nfiles:\n")
	for i := range 60 {
		fmt.Fprintf(&b, "  f%d: {type: reg, path: /dev/null}\n", i)
	}
	b.WriteString("tasks:\n  - name: root\n    children:\n")
	for i := range tasks {
		fmt.Fprintf(&b, "      - {name: t%d, fds: {%d: f%d, %d: f%d, 5: f%d}}\n", i, i%2, i%60, 2+i%3, i/60%60, (i*7)%60)
	}
	path := write(t, b.String())
	for _, p := range prove(wantOf(t, path), detached(t, path)) {
		t.Error(p)
	}
}

// capable reports whether this process, and so regrow, has a capability.
func capable(t *testing.T, capability int) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "CapEff:\t")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(line, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return mask>>capability&1 == 1
}
