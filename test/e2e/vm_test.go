package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// needVM skips a test that needs a machine of its own, see test/vm: it changes settings of
// the kernel, or exhausts a resource.
func needVM(t *testing.T) {
	t.Helper()
	if os.Getenv("REGROW_TEST_VM") != "1" {
		skipped++
		t.Skip("needs a machine of its own: make test-vm")
	}
}

// setting changes a setting of the kernel for the time of a test.
func setting(t *testing.T, name, value string) {
	t.Helper()
	path := filepath.Join("/proc/sys", name)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, before, 0o644); err != nil {
			t.Error(err)
		}
	})
}

// raiseFiles raises the limit of descriptors of this process to the kernel's maximum.
func raiseFiles(t *testing.T) (nrOpen uint64) {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/fs/nr_open")
	if err != nil {
		t.Fatal(err)
	}
	if nrOpen, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err != nil {
		t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: nrOpen, Max: nrOpen}, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &before, nil); err != nil {
			t.Error(err)
		}
	})
	return nrOpen
}

// TestTableToNrOpen restores the highest descriptor number that the kernel allows, in tasks
// that share a table and in one that does not. It also checks that a restore fails cleanly
// if the kernel's limit has become lower than the caller's.
func TestTableToNrOpen(t *testing.T) {
	needVM(t)
	highest := raiseFiles(t) - 1
	path := write(t, fmt.Sprintf(`version: 1
files: {null: {type: reg, path: /dev/null, flags: [O_RDWR]}, own: {type: reg, path: /dev/zero}}
tasks: [{name: a, fds: {0: null, %d: null}, children: [{name: b, fds: {%d: own}}, {name: c, fds: {%d: null, 3: null}}]}]
`, highest, highest, highest))
	for _, limits := range []string{"true", "ulimit -Sn 1024"} {
		rep := report(t, wait(t, start(t, fmt.Sprintf("ulimit -n %d; %s", highest+1, limits), "restore", "-d", "--json", path)))
		for _, p := range prove(wantOf(t, path), rep) {
			t.Error(p)
		}
		endTree(t)
	}
	setting(t, "fs/nr_open", "65536")
	res := wait(t, start(t, "", "restore", "-d", path))
	if res.status != 1 || !strings.Contains(res.errors, `task "a"`) || !strings.Contains(res.errors, "fs.nr_open is now lower") {
		t.Errorf("past nr_open: status %d: %s", res.status, res.errors)
	}
	noDescendants(t)
}

// TestWholeTable fills a table with 100,000 descriptors, up to the limit.
func TestWholeTable(t *testing.T) {
	needVM(t)
	raiseFiles(t)
	const n = 100_000
	var b strings.Builder
	b.WriteString("version: 1\nfiles: {x: {type: reg, path: /dev/null}, y: {type: pipe}}\ntasks:\n  - name: a\n    fds:\n")
	for fd := range n {
		fmt.Fprintf(&b, "      %d: %s\n", fd, []string{"x", "y.r", "y.w"}[fd%3])
	}
	b.WriteString("    children: [{name: b, fds: {0: x, 1: y.w}}]\n")
	res := wait(t, start(t, fmt.Sprintf("ulimit -n %d", n), "restore", "-d", "--json", write(t, b.String())))
	rep := report(t, res)
	defer endTree(t)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", rep.Tasks[0].HostPID))
	if err != nil || len(fds) != n {
		t.Fatalf("%d descriptors, want %d (%v)", len(fds), n, err)
	}
	pid := rep.Tasks[0].HostPID
	for fd := 3; fd < n; fd += 997 {
		if same, err := sameFile(pid, fd%3, pid, fd); err != nil || !same {
			t.Errorf("fd %d is not the open file of fd %d (%v)", fd, fd%3, err)
		}
	}
}

// TestHardLimit restores under hard limits that a caller with CAP_SYS_RESOURCE could raise:
// the tree must still have the caller's limits.
func TestHardLimit(t *testing.T) {
	needVM(t)
	path := write(t, "version: 1\nfiles: {x: {type: reg, path: /dev/null}}\ntasks: [{name: a, fds: {63: x}, children: [{name: b, fds: {0: x}}]}]\n")
	rep := report(t, wait(t, start(t, "ulimit -Sn 64; ulimit -Hn 64", "restore", "-d", "--json", path)))
	for _, p := range prove(wantOf(t, path), rep) {
		t.Error(p)
	}
	for _, task := range rep.Tasks {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", task.HostPID))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(limits), "Max open files")
		if got := strings.Fields(rest); len(got) < 2 || got[0] != "64" || got[1] != "64" {
			t.Errorf("task %s: limits %q, want 64 and 64", task.Name, got)
		}
	}
	endTree(t)
	res := wait(t, start(t, "ulimit -Sn 63; ulimit -Hn 63", "restore", "-d", path))
	if res.status != 3 || !strings.Contains(res.errors, "fd 63") || !strings.Contains(res.errors, "RLIMIT_NOFILE") {
		t.Errorf("under a hard limit of 63: status %d: %s", res.status, res.errors)
	}
	noDescendants(t)
}
