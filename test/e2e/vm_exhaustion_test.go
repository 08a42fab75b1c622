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

	"regrow/test/rounds"
)

// TestPIDsRunOut restores more tasks than there are pids, by the kernel's limit and by a
// cgroup's: the restore must fail cleanly, and a tree that fits must be restored right
// after.
func TestPIDsRunOut(t *testing.T) {
	needVM(t)
	big, small := writeWide(t, 800), writeWide(t, 40)
	fits := func() {
		t.Helper()
		report(t, run(t, "restore", "-d", "--json", small))
		endTree(t)
	}
	t.Run("pid_max", func(t *testing.T) {
		setting(t, "kernel/pid_max", "700")
		for range 5 {
			res := run(t, "restore", "-d", big)
			if res.status != 1 || !strings.Contains(res.errors, "clone") || !strings.Contains(res.errors, "resource temporarily unavailable") {
				t.Errorf("status %d: %s", res.status, res.errors)
			}
			noDescendants(t)
			fits()
		}
	})
	t.Run("cgroup", func(t *testing.T) {
		in := inCgroup(t, "pids.max", "300")
		res := wait(t, start(t, in, "restore", "-d", big))
		if res.status != 1 || !strings.Contains(res.errors, "clone") {
			t.Errorf("status %d: %s", res.status, res.errors)
		}
		noDescendants(t)
		fits()
	})
	t.Run("RLIMIT_NPROC", func(t *testing.T) {
		path := filepath.Join(openFolder(t), "tree.yaml")
		text, err := os.ReadFile(big)
		if err == nil {
			err = os.WriteFile(path, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		// dash calls it -p, bash and busybox -u.
		res := wait(t, start(t, "ulimit -p 200 2>/dev/null || ulimit -u 200; "+asNobody, "restore", "-d", path))
		if res.status != 1 || !strings.Contains(res.errors, "clone") || !strings.Contains(res.errors, "resource temporarily unavailable") {
			t.Errorf("status %d: %s", res.status, res.errors)
		}
		noDescendants(t)
	})
}

// TestPIDsComeAgain restores trees while pids are reused again and again: a task must never
// be confused with another process that had its pid.
func TestPIDsComeAgain(t *testing.T) {
	needVM(t)
	setting(t, "kernel/pid_max", "500")
	path := writeWide(t, 60)
	want := wantOf(t, path)
	seen, again := map[int]bool{}, 0
	for range 30 {
		rep := report(t, run(t, "restore", "-d", "--json", path))
		for _, p := range prove(want, rep) {
			t.Error(p)
		}
		for _, task := range rep.Tasks {
			if seen[task.HostPID] {
				again++
			}
			seen[task.HostPID] = true
		}
		endTree(t)
	}
	if again == 0 {
		t.Error("no pid was reused: this test shows nothing")
	}
	t.Logf("%d tasks had a reused pid", again)
}

// TestFilesRunOut fills the kernel's table of open files, which limits only ordinary users.
func TestFilesRunOut(t *testing.T) {
	needVM(t)
	var files strings.Builder
	var fds strings.Builder
	for i := range 600 {
		fmt.Fprintf(&files, "  f%d: {type: reg, path: /dev/null}\n", i)
		fmt.Fprintf(&fds, "%d: f%d, ", i, i)
	}
	dir := openFolder(t)
	path := filepath.Join(dir, "tree.yaml")
	yaml := "version: 1\nfiles:\n" + files.String() + "tasks: [{name: a, fds: {" + fds.String() + "}, children: [{name: b, fds: {" + fds.String() + "}}]}]\n"
	if err := os.WriteFile(path, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	inUse, err := os.ReadFile("/proc/sys/fs/file-nr")
	if err != nil {
		t.Fatal(err)
	}
	used, err := strconv.Atoi(strings.Fields(string(inUse))[0])
	if err != nil {
		t.Fatal(err)
	}
	setting(t, "fs/file-max", strconv.Itoa(used+400))
	res := wait(t, start(t, asNobody, "restore", "-d", path))
	if res.status != 1 || !strings.Contains(res.errors, "too many open files in system") {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	noDescendants(t)
}

// TestSmallMachine restores trees that do not fit into the memory of a small machine. The
// kernel may kill regrow or a task, or a call may fail; nothing may be left, and a tree that
// fits must be restored right after.
func TestSmallMachine(t *testing.T) {
	if os.Getenv("REGROW_TEST_SMALL") != "1" {
		skipped++
		t.Skip("needs a small machine of its own: make test-vm")
	}
	// The kernel must not choose this process, nor the shell that becomes regrow.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0o644); err != nil {
		t.Fatal(err)
	}
	const asUsual = "echo 0 > /proc/self/oom_score_adj"
	small := writeWide(t, 20)
	for _, c := range []struct {
		name, yaml string
		free       int // MiB of free memory
		commit     int // MiB of memory that may be committed, 0 for any
	}{
		{name: "tasks", yaml: wideTree(6000), free: 60},
		{name: "files", free: 25, yaml: "version: 1\nfiles: {f: {type: reg, path: /tmp/big, flags: [O_CREAT, O_RDWR], content: &c '" +
			strings.Repeat("x", 900_000) + "'}" + manyBig(14) + "}\ntasks: [{name: a, fds: {" + manyBigFDs(14) + "}}]\n"},
		{name: "no overcommit", yaml: wideTree(6000), free: 60, commit: 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.yaml)
			ballast := ballast(t, c.free)
			shell := asUsual
			if c.commit > 0 {
				setting(t, "vm/overcommit_memory", "0")
				setting(t, "vm/overcommit_kbytes", strconv.Itoa(meminfo(t, "Committed_AS")+c.commit<<10))
				shell = "echo 2 >/proc/sys/vm/overcommit_memory; " + asUsual
			}
			res := wait(t, start(t, shell, "restore", "-d", path))
			t.Logf("status %d: %.300s", res.status, res.errors)
			if res.status == 0 {
				t.Error("the tree fits: this test shows nothing")
				endTree(t)
			}
			// If the Go runtime gets no memory, it exits with 2.
			if res.status != 1 && res.status != 137 && (res.status != 2 || !strings.Contains(res.errors, "out of memory")) {
				t.Errorf("status %d: %s", res.status, res.errors)
			}
			within(t, "the end of all tasks", func() bool {
				reapOrphans()
				return len(children()) == 0
			})
			// A killed regrow cannot remove the files that it made.
			made, err := filepath.Glob("/tmp/big*")
			if err != nil || len(made) > 0 && res.status != 137 {
				t.Errorf("files are left: %q, %v", made, err)
			}
			for _, path := range made {
				if err := os.Remove(path); err != nil {
					t.Error(err)
				}
			}
			setting(t, "vm/overcommit_memory", "0")
			ballast.Close()
			report(t, wait(t, start(t, asUsual, "restore", "-d", "--json", small)))
			endTree(t)
		})
	}
}

// meminfo returns a value of /proc/meminfo in KiB.
func meminfo(t *testing.T, name string) (kib int) {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+name+":")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// ballast allocates the machine's memory except this number of MiB, until it is closed.
func ballast(t *testing.T, free int) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("ballast", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "ballast")
	t.Cleanup(func() { f.Close() })
	mib := make([]byte, 1<<20)
	for meminfo(t, "MemAvailable") > free<<10 {
		if _, err := f.Write(mib); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// manyBig describes files with the content that an anchor c defines.
func manyBig(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ", f%d: {type: reg, path: /tmp/big%d, flags: [O_CREAT, O_RDWR], content: *c}", i, i)
	}
	return b.String()
}

func manyBigFDs(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d: f%d, ", i, i)
	}
	return b.String()
}

// forked returns the number of children of a restore's root.
func forked(regrow int) int {
	if root := childrenOf(regrow); len(root) == 1 {
		return len(childrenOf(root[0]))
	}
	return 0
}

// TestKillStorm kills regrow, its tasks and their new children at the same time, at random
// moments. Nothing may be left.
func TestKillStorm(t *testing.T) {
	n := rounds.Of(t, "REGROW_TEST_STORMS", 6, 30)
	dir := t.TempDir()
	path := filepath.Join(dir, "tree.yaml")
	// Enough tasks that listing them is faster than making them, also on an emulated
	// processor.
	const tasks = 300
	var wide strings.Builder
	for i := range tasks {
		fmt.Fprintf(&wide, "      - {name: t%d, fds: {0: made, 5: there}}\n", i)
	}
	if err := os.WriteFile(path, []byte(causeTree(dir, "", wide.String())), 0o644); err != nil {
		t.Fatal(err)
	}
	early := 0
	// More rounds if a busy machine was too late each time.
	for round := 0; round < n || early == 0 && round < 20*n; round++ {
		_ = os.Remove(filepath.Join(dir, "made"))
		if err := os.WriteFile(filepath.Join(dir, "there"), []byte("whole"), 0o644); err != nil {
			t.Fatal(err)
		}
		r := start(t, "", "restore", "--json", path)
		wanted := 1 + round%n*tasks*9/(8*n)
		for deadline := time.Now().Add(patience); forked(r.cmd.Process.Pid) < wanted && time.Now().Before(deadline); {
			if r.output() != "" {
				break
			}
		}
		if r.output() == "" {
			early++
		}
		done := make(chan struct{})
		for range 4 {
			go func() {
				for range 20 {
					for _, pid := range append(below(r.cmd.Process.Pid), r.cmd.Process.Pid) {
						_ = unix.Kill(pid, unix.SIGKILL)
					}
				}
				done <- struct{}{}
			}()
		}
		for range 4 {
			<-done
		}
		res := wait(t, r)
		if res.status != 137 && res.status != 125 {
			t.Errorf("round %d: status %d: %s", round, res.status, res.errors)
		}
		within(t, "the end of all tasks", func() bool {
			for _, pid := range below(os.Getpid()) {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			reapOrphans()
			return len(children()) == 0
		})
	}
	t.Logf("%d storms came before release", early)
	if early == 0 {
		t.Error("all storms came after release")
	}
}
