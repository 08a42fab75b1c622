package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/images"
	"regrow/restore"
)

// proveTree holds a restored tree against its description, by the kernel's
// word: exact numbers, one open file description for one name and two for two,
// close-on-exec, and nothing of ours.
func proveTree(t testing.TB, path string, rep restore.Report) {
	t.Helper()
	tree, err := images.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ pid, fd int }
	holders := map[string]holder{}
	for i, task := range tree.Tasks() {
		pid := rep.Tasks[i].HostPID
		if !task.Holds() {
			continue
		}
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != len(task.FDs) {
			t.Errorf("task %s has %d descriptors, want %d", task.Name, len(entries), len(task.FDs))
		}
		for _, d := range task.FDs {
			info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, d.FD))
			if err != nil {
				t.Errorf("task %s: fd %d: %v", task.Name, d.FD, err)
				continue
			}
			if cloexec := flagsOf(t, string(info))&unix.O_CLOEXEC != 0; cloexec != d.Cloexec {
				t.Errorf("task %s: fd %d: close-on-exec %v, want %v", task.Name, d.FD, cloexec, d.Cloexec)
			}
			name := d.Open.EndName(d.End)
			if h, ok := holders[name]; ok {
				if same, err := sameFile(h.pid, h.fd, pid, d.FD); err != nil || !same {
					t.Errorf("task %s: fd %d is not the open file %s: %v", task.Name, d.FD, name, err)
				}
				continue
			}
			holders[name] = holder{pid, d.FD}
		}
		proveClean(t, pid, task.Name)
	}
	names := slices.Sorted(maps.Keys(holders))
	for i, a := range names[:min(len(names), 40)] {
		for _, b := range names[:i] {
			if same, err := sameFile(holders[a].pid, holders[a].fd, holders[b].pid, holders[b].fd); err != nil || same {
				t.Errorf("%s and %s are one open file description: %v", a, b, err)
			}
		}
	}
}

func flagsOf(t testing.TB, info string) int64 {
	t.Helper()
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseInt(strings.TrimSpace(v), 8, 64)
			if err != nil {
				t.Fatal(err)
			}
			return flags
		}
	}
	t.Fatalf("no flags in %q", info)
	return 0
}

// proveClean looks at what a held task must not have from us.
func proveClean(t testing.TB, pid int, name string) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Threads:\t1\n", "SigBlk:\t0000000000000000\n", "SigIgn:\t0000000000000000\n", "SigCgt:\t0000000000000000\n",
		"Name:\t" + name[:min(len(name), 15)] + "\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("task %s: status has no %q:\n%s", name, want, status)
		}
	}
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if string(cmdline) != name+"\x00" {
		t.Errorf("task %s: argument list %q", name, cmdline)
	}
	// The arena goes right after the task has been counted as holding.
	var maps []byte
	for range 200 {
		if maps, _ = os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid)); !strings.Contains(string(maps), "/dev/zero") {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if strings.Contains(string(maps), "/dev/zero") || strings.Contains(string(maps), "c000000000-") {
		t.Errorf("task %s keeps the arena or the Go heap:\n%s", name, maps)
	}
}

func TestHeldExamples(t *testing.T) {
	needRoot(t)
	for _, name := range []string{"swap", "dense", "sparse", "prefork", "namespace"} {
		t.Run(name, func(t *testing.T) {
			path := "../../examples/" + name + ".yaml"
			rep := detached(t, path)
			proveTree(t, path, rep)
			if name == "namespace" {
				got := fmt.Sprint(rep.Tasks[0].PID, rep.Tasks[1].PID, rep.Tasks[2].PID, rep.Tasks[3].PID)
				if got != "1 4711 815 30000" {
					t.Errorf("pids %s", got)
				}
			}
		})
	}
}

func TestPipeline(t *testing.T) {
	if res := run(t, "restore", "../../examples/pipeline.yaml"); res.status != 0 || res.out != "1000\n" {
		t.Errorf("status %d, out %q, errors %q", res.status, res.out, res.errors)
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

// TestRandomTrees restores random trees and proves each.
func TestRandomTrees(t *testing.T) {
	needRoot(t)
	const rounds = 12
	for i := range rounds {
		yaml := rapid.Custom(func(r *rapid.T) string { return drawYAML(r, []int{3, 12, 60}[i%3]) }).Example(i)
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			path := write(t, yaml)
			proveTree(t, path, detached(t, path))
			if t.Failed() {
				t.Log(yaml)
			}
		})
	}
}

func drawYAML(r *rapid.T, tasks int) string {
	var b strings.Builder
	b.WriteString("version: 1\nfiles:\n")
	var ends []string
	for i := range rapid.IntRange(2, 20).Draw(r, "files") {
		if rapid.Bool().Draw(r, "pipe") {
			fmt.Fprintf(&b, "  f%d: {type: pipe, content: %q}\n", i, rapid.StringMatching(`[a-z]{0,9}`).Draw(r, "content"))
			ends = append(ends, fmt.Sprintf("f%d.r", i), fmt.Sprintf("f%d.w", i))
			continue
		}
		fmt.Fprintf(&b, "  f%d: {type: reg, path: /dev/zero, flags: [O_RDWR]}\n", i)
		ends = append(ends, fmt.Sprintf("f%d", i))
	}
	b.WriteString("tasks:\n  - name: root\n    children:\n")
	top := rapid.SampledFrom([]int{9, 40, 900}).Draw(r, "top")
	for i := range tasks {
		fmt.Fprintf(&b, "      - name: t%d\n        fds:\n          %d: %s\n", i, top+1, ends[0])
		for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, top), 0, 8, rapid.ID[int]).Draw(r, "fds") {
			fmt.Fprintf(&b, "          %d: {file: %s, cloexec: %v}\n", n, rapid.SampledFrom(ends).Draw(r, "end"), rapid.Bool().Draw(r, "cloexec"))
		}
	}
	return b.String()
}

// TestFromInside asks a program in the tree what the caller's oddities left.
func TestFromInside(t *testing.T) {
	path := write(t, `version: 1
files: {out: {type: inherit, key: stdout}}
tasks:
  - name: probe
    fds: {1: out, 2: out}
    run: [grep, -E, '^(SigBlk|SigIgn|Umask)|open files', /proc/self/status, /proc/self/limits, -h]
`)
	res := wait(t, start(t, `trap "" HUP INT TERM USR1 TSTP; ulimit -Sn 512; umask 027`, "restore", path))
	for _, want := range []string{"Umask:\t0027", "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"} {
		if !strings.Contains(res.out, want) {
			t.Errorf("no %q from inside:\n%s%s", want, res.out, res.errors)
		}
	}
	if fields := strings.Fields(res.out[max(0, strings.Index(res.out, "Max open files")):]); len(fields) < 4 || fields[3] != "512" {
		t.Errorf("the soft limit is not the caller's:\n%s", res.out)
	}
}

func TestFailures(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
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
	}{
		{"missing file", tree("  f: {type: reg, path: /nonexistent/x}\n", "fds: {5: f}"), []string{":5:", `task "bad"`, "fd 5", "openat", "no such file"}},
		{"fifo", tree("  f: {type: reg, path: "+fifo+"}\n", "fds: {5: f}"), []string{`task "bad"`, "FIFO"}},
		{"missing program", tree("", "run: [no-such-program]"), []string{`task "bad"`, "no-such-program", "no such file"}},
		{"not a program", tree("", "run: ["+junk+"]"), []string{`task "bad"`, "execve", "exec format error"}},
		{"missing folder", tree("", "cwd: /nonexistent"), []string{`task "bad"`, "chdir", "no such file"}},
		{"content and there", tree("  f: {type: reg, path: "+there+", flags: [O_CREAT, O_RDWR], content: y}\n", "fds: {5: f}"), []string{"file exists"}},
		{"no room", tree("", "fds: {1000000000: made}"), []string{"fd 1000000000", "RLIMIT_NOFILE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.yaml)
			if err := os.WriteFile(there, []byte("keep me"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, how := range []struct {
				status int
				args   []string
			}{{125, []string{"restore", path}}, {1, []string{"restore", "-d", path}}} {
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
				if c.name != "not a program" { // that one fails after the commit point
					if text, _ := os.ReadFile(there); string(text) != "keep me" {
						t.Errorf("the file that was there has %q now", text)
					}
				}
				if _, err := os.Stat(made); err == nil {
					t.Error("the file that was made is still there")
					_ = os.Remove(made)
				}
			}
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

// TestTermEndsHeldTree sends TERM to a regrow whose root holds.
func TestTermEndsHeldTree(t *testing.T) {
	path := write(t, "version: 1\ntasks: [{name: a, children: [{name: b}]}]\n")
	pidfile := filepath.Join(t.TempDir(), "pid")
	r := start(t, "", "restore", "--pidfile", pidfile, path)
	for range 500 {
		if _, err := os.Stat(pidfile); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := r.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if res := wait(t, r); res.status != 128+15 {
		t.Errorf("status %d, want 143: %s", res.status, res.errors)
	}
	if _, err := os.Stat(pidfile); err == nil {
		t.Error("the pid file is still there")
	}
	if left := children(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
		endTree(t)
	}
}

// TestKilledRunner kills regrow at some moments of a restore: then either
// nothing is left, or the whole tree lives.
func TestKilledRunner(t *testing.T) {
	const tasks, moments = 30, 20
	var b strings.Builder
	b.WriteString("version: 1\ntasks:\n  - name: root\n    children:\n")
	for i := range tasks {
		fmt.Fprintf(&b, "      - {name: t%d}\n", i)
	}
	path := write(t, b.String())
	for i := range moments {
		r := start(t, "", "restore", path)
		time.Sleep(time.Duration(i) * 4 * time.Millisecond)
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		whole := false
		for range 300 {
			for _, pid := range children() {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
			left := children()
			if len(left) == 0 {
				break
			}
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", left[0], left[0]))
			if whole = len(left) == 1 && len(strings.Fields(string(text))) == tasks; whole {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if left := children(); len(left) > 0 && !whole {
			t.Errorf("moment %d: a part is left: %v", i, left)
		}
		endTree(t)
	}
}
