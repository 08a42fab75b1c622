package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAttributes checks with the kernel that each task has its described attributes, and
// that its children have those of the caller.
func TestAttributes(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name, namespaces string
		lowest           int // nice value that a task of the tree may have
		flags            []string
	}{
		{name: "plain", namespaces: "[]", lowest: -7},
		{name: "service", namespaces: "[]", lowest: -7, flags: []string{"--strategy", "service"}},
		{name: "inherit", namespaces: "[]", lowest: -7, flags: []string{"--strategy", "inherit"}},
		{name: "pid namespace", namespaces: "[pid]", lowest: -7},
		{name: "user namespace", namespaces: "[user, pid]", lowest: 1}, // a lower one requires CAP_SYS_NICE in the initial namespace
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, fmt.Sprintf(`version: 1
namespaces: %s
files:
  null: {type: reg, path: /dev/null, flags: [O_RDWR]}
tasks:
  - name: root
    umask: 0027
    nice: 5
    fds: {0: null, 1: null, 3: null, 4: {file: null, cloexec: true}, 5: null, 6: null}
    cloexec: [0, 5-6]
    children:
      - {name: plain, fds: {3: null}}
      - {name: all, umask: "0", nice: %d, fds: {3: null, 9: null}, cloexec: all}
      - {name: sharer, shares: {files: root}, umask: 0777}
      - {name: program, umask: 0111, nice: 19, fds: {0: null, 1: null, 2: null}, run: [sleep, 1000]}
`, c.namespaces, c.lowest))
			res := wait(t, start(t, "umask 0022", append([]string{"restore", "-d", "--json"}, append(c.flags, path)...)...))
			rep := report(t, res)
			defer endTree(t)
			want := map[string]string{
				"root":    "0027 5 0 4 5 6",
				"plain":   "0022 0",
				"all":     fmt.Sprintf("0000 %d 3 9", c.lowest),
				"sharer":  "0777 0 0 4 5 6",
				"program": "0111 19",
			}
			for _, task := range rep.Tasks {
				got := attributesOf(t, task.HostPID)
				if task.Name == "program" {
					got = strings.Join(strings.Fields(got)[:2], " ") // the program may have opened a file
				}
				if got != want[task.Name] {
					t.Errorf("task %s: mask, nice value and close-on-exec descriptors %q, want %q", task.Name, got, want[task.Name])
				}
			}
			if status, out := verify(t, path, rep.Tasks[0].HostPID); status != 0 {
				t.Errorf("verify: status %d:\n%s", status, out)
			}
		})
	}
}

// attributesOf returns the mask, the nice value and the close-on-exec descriptors of a
// process.
func attributesOf(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, mask, _ := strings.Cut(string(status), "Umask:\t")
	mask, _, _ = strings.Cut(mask, "\n")
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
	if err != nil {
		t.Fatal(err)
	}
	words := []string{mask, fmt.Sprint(20 - raw)}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fdinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var flags int
		for line := range strings.Lines(string(info)) {
			if _, err := fmt.Sscanf(line, "flags:\t%o", &flags); err == nil {
				break
			}
		}
		if flags&unix.O_CLOEXEC != 0 {
			words = append(words, e.Name())
		}
	}
	return strings.Join(words, " ")
}

// TestNiceNeeds checks that a nice value that the user may not have is refused before
// anything is started.
func TestNiceNeeds(t *testing.T) {
	needRoot(t)
	path := write(t, "version: 1\nnamespaces: [user, pid]\ntasks:\n  - name: a\n    nice: -5\n")
	for _, args := range [][]string{{"check", "--host", path}, {"restore", path}} {
		res := wait(t, start(t, "", args...))
		if want := `tree.yaml:5:11: `; res.status != 3 || !strings.Contains(res.errors, want) || !strings.Contains(res.errors, "nice -5 is below the caller's, which is 0") {
			t.Errorf("%v: status %d: %s", args, res.status, res.errors)
		}
	}
}
