package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// swapped is a tree whose naive restore breaks with every strategy.
const swapped = `version: 1
files:
  a: {type: reg, path: /dev/null}
  b: {type: reg, path: /dev/zero}
tasks:
  - name: first
    fds: {1: a, 0: b}
    children:
      - name: second
        fds: {0: a, 1: b}
`

// lab is the part of the output of conflicts --json that these tests use.
type lab struct {
	Forms []struct {
		Strategy   string   `json:"strategy"`
		Naive      bool     `json:"naive"`
		Disagree   []string `json:"disagree"`
		Prediction struct {
			Collisions []struct {
				Line int    `json:"line"`
				Task string `json:"task"`
			} `json:"collisions"`
		} `json:"prediction"`
		Reality struct {
			Tasks []struct {
				Table map[int]struct {
					File string `json:"file"`
				} `json:"table"`
			} `json:"tasks"`
		} `json:"reality"`
	} `json:"forms"`
}

// TestConflicts predicts conflicts and tries them: the careful forms must hold, the naive
// forms must break as predicted, and nothing may be left.
func TestConflicts(t *testing.T) {
	path := write(t, swapped)
	res := run(t, "conflicts", path)
	if res.status != 0 || res.errors != "" || !strings.Contains(res.out, "fdstore") || strings.Contains(res.out, "breaks") {
		t.Errorf("status %d: %s%s", res.status, res.out, res.errors)
	}
	res = run(t, "conflicts", "--naive", "--run", "--json", path)
	var l lab
	if err := json.Unmarshal([]byte(res.out), &l); err != nil || res.status != 1 {
		t.Fatalf("status %d, %v: %s%s", res.status, err, res.out, res.errors)
	}
	for _, f := range l.Forms {
		if len(f.Disagree) > 0 || f.Naive != (len(f.Prediction.Collisions) > 0) {
			t.Errorf("%s, naive %v: %d collisions, prediction and reality disagree: %q", f.Strategy, f.Naive, len(f.Prediction.Collisions), f.Disagree)
		}
		first := f.Reality.Tasks[0].Table
		if right := len(first) == 2 && first[1].File == "a" && first[0].File == "b"; right == f.Naive {
			t.Errorf("%s, naive %v: really %v", f.Strategy, f.Naive, first)
		}
	}
	if left := children(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestConflictsStatus checks exit statuses and wrong usage.
func TestConflictsStatus(t *testing.T) {
	path := write(t, swapped)
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, 0, "holds"},
		{[]string{"--naive"}, 1, "breaks"},
		{[]string{"--naive", "--strategy", "inherit"}, 1, "still to be installed"},
		{[]string{"--naive", "--service-fd", "7"}, 0, "fdstore, naive"},
		{[]string{"--strategy", "fdstor"}, 2, `did you mean "fdstore"`},
		{[]string{"--strategy", "inherit", "--service-fd", "3"}, 2, "no store"},
		{[]string{"--service-fd", "x"}, 2, "--service-fd x: expected a descriptor number"},
		{[]string{"--service-fd", "1000000"}, 1, "highest number"},
	} {
		res := run(t, append(append([]string{"conflicts"}, c.args...), path)...)
		if res.status != c.status || !strings.Contains(res.out+res.errors, c.says) {
			t.Errorf("%q: status %d, want %d, and %q in: %s%s", c.args, res.status, c.status, c.says, res.out, res.errors)
		}
	}
}

// TestNaiveRestore checks that a restore that loses descriptors either fails with the
// message of the op that failed, or releases the tree with the wrong table.
func TestNaiveRestore(t *testing.T) {
	path := write(t, swapped)
	res := run(t, "restore", "-d", "--naive", path)
	if res.status != 1 || !strings.Contains(res.errors, `tree.yaml:10:21: restore: task "second"`) || !strings.Contains(res.errors, "socket operation on non-socket") {
		t.Errorf("fdstore: status %d: %s", res.status, res.errors)
	}
	res = run(t, "restore", "-d", "--json", "--naive", "--strategy", "inherit", path)
	rep := report(t, res)
	defer endTree(t)
	if !strings.Contains(res.errors, `tree.yaml:7:11: warning: task "first": install fd 1 from file "a"`) {
		t.Errorf("inherit: no warning about the lost descriptors: %s", res.errors)
	}
	if problems := prove(wantOf(t, path), rep); len(problems) == 0 {
		t.Error("inherit: every table is right, although the restore was naive")
	}
	if !slices.Equal(rep.Tasks[1].FDs, []int{0, 1}) {
		t.Errorf("the second task has %v", rep.Tasks[1].FDs)
	}
}

// TestConflictsStopped ends regrow conflicts by a signal while a tree exists. The tree and
// the file that was made for it must be removed.
func TestConflictsStopped(t *testing.T) {
	const head = `version: 1
caller: {nofile: 1000}
files: {made: {type: reg, path: made, flags: [O_RDWR, O_CREAT]}}
tasks:
  - name: root
    fds: {0: made}
    children:
`
	var b strings.Builder
	b.WriteString(head)
	for i := range 1000 {
		fmt.Fprintf(&b, "      - {name: t%d, fds: {0: made}}\n", i)
	}
	plain := strings.Replace(b.String(), "caller: {nofile: 1000}\n", "", 1)
	for _, text := range []string{plain, b.String()} {
		path := write(t, text)
		made := filepath.Join(filepath.Dir(path), "made")
		r := start(t, "", "conflicts", "--run", path)
		within(t, "a tree", func() bool { return len(below(r.cmd.Process.Pid)) > 5 })
		r.signal(t, unix.SIGTERM)
		if res := wait(t, r); res.status != 143 {
			t.Errorf("status %d, want 143: %s%s", res.status, res.out, res.errors)
		}
		if _, err := os.Stat(made); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the created file: %v", err)
		}
		noDescendants(t)
	}
}

// TestGalleryLeavesNoFile tries a scenario with several trees: the files that they have
// made must be removed.
func TestGalleryLeavesNoFile(t *testing.T) {
	path := write(t, `version: 1
caller: {restores: 2}
expect: {fdstore: holds, service: holds, inherit: holds, naive fdstore: holds, naive service: holds, naive inherit: holds}
files: {made: {type: reg, path: made, flags: [O_RDWR, O_CREAT]}}
tasks: [{name: root, fds: {9: made}}]
`)
	if res := run(t, "conflicts", "--check", path); res.status != 0 {
		t.Errorf("status %d: %s%s", res.status, res.out, res.errors)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "made")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the created file: %v", err)
	}
	noDescendants(t)
}

// TestConflictsFullTable runs regrow with too few descriptors: the message must say so,
// with the limit and the remedy, even with too few descriptors for the Go runtime.
func TestConflictsFullTable(t *testing.T) {
	path := write(t, "version: 1\nfiles: {p: {type: pipe}}\ntasks: [{name: root, fds: {0: p.r, 1: p.w}, children: [{name: c, fds: {3: p.w}}]}]\n")
	for limit := 5; limit <= 11; limit++ {
		// A build with -cover opens files there before main.
		res := wait(t, start(t, fmt.Sprintf("unset GOCOVERDIR; ulimit -n %d", limit), "conflicts", "--run", path))
		// How many descriptors regrow needs depends on the host: the runtime may keep
		// a file of the cgroup open, and with few left a form is refused.
		text := res.out + res.errors
		if res.status != 1 && res.status != 3 || limit < 7 && res.status != 3 || strings.Contains(text, "goroutine") ||
			!strings.Contains(text, fmt.Sprintf("the hard RLIMIT_NOFILE is %d", limit)) || !strings.Contains(text, "ulimit -Hn") {
			t.Errorf("limit %d: status %d, %q", limit, res.status, text)
		}
		noDescendants(t)
	}
}
