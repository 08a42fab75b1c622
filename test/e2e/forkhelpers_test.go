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

// TestHelpersFork restores a wide tree with fork helpers. Their children must be the
// root's in every respect, and no fork helper may be left.
func TestHelpersFork(t *testing.T) {
	const tasks = 200
	var b strings.Builder
	b.WriteString("version: 1\nfiles: {p: {type: pipe}}\ntasks:\n  - name: root\n    fds: {3: p.r}\n    children:\n")
	for i := range tasks {
		fmt.Fprintf(&b, "      - {name: t%d, fds: {1: p.w, 2: p.w}}\n", i)
	}
	path := write(t, b.String())
	for _, processors := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("%d processors", processors), func(t *testing.T) {
			defer endTree(t)
			file := filepath.Join(t.TempDir(), "trace.json")
			rep := report(t, wait(t, start(t, fmt.Sprintf("export GOMAXPROCS=%d", processors), "restore", "-d", "--json", "--trace", file, path)))
			root := rep.Tasks[0].HostPID
			there := map[int]bool{}
			for _, pid := range childrenOf(root) {
				there[pid] = true
			}
			if len(there) != tasks {
				t.Errorf("the root has %d children, want %d", len(there), tasks)
			}
			session := fields(t, root)
			for _, task := range rep.Tasks[1:] {
				if !there[task.HostPID] {
					t.Errorf("%s is not a child of the root", task.Name)
				}
				const state, group, sid, exitSignal = 0, 2, 3, 35
				got := fields(t, task.HostPID)
				for deadline := time.Now().Add(patience); got[state] == "R" && time.Now().Before(deadline); got = fields(t, task.HostPID) {
					time.Sleep(time.Millisecond) // it is counted as holding, and is about to hold
				}
				if got[exitSignal] != strconv.Itoa(int(unix.SIGCHLD)) || got[group] != session[group] || got[sid] != session[sid] || got[state] != "S" {
					t.Errorf("%s: %v", task.Name, got)
				}
			}
			lanes := 0
			for _, e := range readTrace(t, file).Events {
				if e.Name == "thread_name" && strings.HasPrefix(fmt.Sprint(e.Args["name"]), "root, helper (pid ") {
					lanes++
					_, spans := readTrace(t, file).lane(e.TID)
					if n := len(spans); n < tasks/processors || spans[n-1].Name != "exit_group(0)" {
						t.Errorf("a fork helper has run %d ops, the last was %+v", n, spans[n-1])
					}
				}
			}
			if lanes != processors-1 {
				t.Errorf("%d fork helpers, want %d", lanes, processors-1)
			}
		})
	}
}

// fields returns the fields after the name in /proc/PID/stat: the state comes first.
func fields(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}
