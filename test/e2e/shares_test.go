package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"regrow/restore"
)

// sharing are trees with shared tables.
var sharing = []struct {
	name, tasks string
	tables      string // names of tasks, grouped by table
}{
	{"parent and child", `
  - name: main
    fds: {0: a, 1: b, 5: p.r, 6: {file: p.w, cloexec: true}}
    children:
      - {name: thread, shares: {files: main}}
      - {name: plain, fds: {0: b, 1: a}}
`, "main thread|plain"},
	{"grandchild", `
  - name: main
    fds: {0: a, 1: b, 2: p.r}
    children:
      - name: between
        fds: {0: b, 3: p.w}
        children:
          - {name: far, shares: {files: main}}
          - {name: near, fds: {0: p.w}}
`, "main far|between|near"},
	{"the child describes", `
  - name: main
    shares: {files: child}
    children:
      - name: child
        fds: {2: a, 1: b, 0: p.r}
`, "main child"},
	{"siblings", `
  - name: main
    fds: {0: a}
    children:
      - {name: one, fds: {1: a, 0: b}}
      - {name: two, shares: {files: one}}
      - {name: three, shares: {files: four}}
      - {name: four, fds: {1: b, 0: p.r, 7: p.w}}
`, "main|one two|three four"},
	{"nested", `
  - name: main
    fds: {0: a, 3: b}
    children:
      - name: thread
        shares: {files: main}
        children:
          - name: inner
            fds: {0: p.r, 1: a}
            children:
              - {name: innermost, shares: {files: inner}}
              - {name: out, shares: {files: main}}
`, "main thread out|inner innermost"},
	{"nested, each below its own", `
  - name: main
    fds: {0: a, 3: b}
    children:
      - name: thread
        shares: {files: main}
        children:
          - name: inner
            fds: {0: p.r, 1: a}
            children:
              - {name: innermost, shares: {files: inner}}
          - {name: deeper, shares: {files: main}}
`, "main thread deeper|inner innermost"},
}

// crowd is a tree with 40 tasks that share a table, and other tasks.
func crowd() (tasks, tables string) {
	var b, with strings.Builder
	b.WriteString("\n  - name: main\n    fds: {0: a, 1: b, 2: p.r, 3: p.w, 40: a}\n    children:\n")
	with.WriteString("main")
	var plain strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "      - {name: s%d, shares: {files: main}}\n", i)
		fmt.Fprintf(&with, " s%d", i)
		if i%4 == 0 {
			fmt.Fprintf(&b, "      - {name: p%d, fds: {%d: b, 0: p.w}}\n", i, i+1)
			fmt.Fprintf(&plain, "|p%d", i)
		}
	}
	return b.String(), with.String() + plain.String()
}

const sharedFiles = `version: 1
files:
  a: {type: reg, path: /dev/null}
  b: {type: reg, path: /dev/zero}
  p: {type: pipe}
tasks:`

// TestSharedTables restores trees whose tasks share tables, with each strategy, and checks
// with the kernel which tasks share a table (KCMP_FILES) and its content.
func TestSharedTables(t *testing.T) {
	all := slices.Clone(sharing)
	tasks, tables := crowd()
	all = append(all, struct{ name, tasks, tables string }{"40 sharers", tasks, tables})
	for _, c := range all {
		path := write(t, sharedFiles+c.tasks)
		for _, strategy := range restore.Strategies() {
			t.Run(c.name+", "+strategy.String(), func(t *testing.T) {
				rep := detached(t, path, "--strategy", strategy.String())
				for _, p := range prove(wantOf(t, path), rep) {
					t.Error(p)
				}
				proveTables(t, rep, c.tables)
			})
		}
	}
}

// proveTables checks which tasks share a table.
func proveTables(t *testing.T, rep restore.Report, tables string) {
	t.Helper()
	group := map[string]int{}
	for i, names := range strings.Split(tables, "|") {
		for name := range strings.FieldsSeq(names) {
			group[name] = i + 1
		}
	}
	for i, a := range rep.Tasks {
		if group[a.Name] == 0 {
			t.Errorf("task %s is in no group", a.Name)
		}
		for _, b := range rep.Tasks[:i] {
			same, err := sameTable(a.HostPID, b.HostPID)
			if err != nil || same != (group[a.Name] == group[b.Name]) {
				t.Errorf("%s and %s have one table: %v (%v)", a.Name, b.Name, same, err)
			}
		}
	}
	for _, task := range rep.Tasks {
		if task.Shares != nil && group[task.Shares.Files] != group[task.Name] {
			t.Errorf("the report has %q sharing with %q", task.Name, task.Shares.Files)
		}
	}
}

// TestSharedTableProgram checks that a program has the descriptors of a shared table in a
// table of its own: exec copies the table (execve(2)).
func TestSharedTableProgram(t *testing.T) {
	rep := detached(t, write(t, sharedFiles+`
  - name: main
    fds: {0: a, 3: b, 7: {file: p.r, cloexec: true}}
    children:
      - {name: program, shares: {files: main}, run: [sleep, 1000]}
      - {name: thread, shares: {files: main}}
`))
	proveTables(t, rep, "main thread|program")
	for i, want := range []string{"0 3 7", "0 3", "0 3 7"} {
		var reported []string
		for _, n := range rep.Tasks[i].FDs {
			reported = append(reported, strconv.Itoa(n))
		}
		if strings.Join(reported, " ") != want {
			t.Errorf("%s has %s in the report, want %s", rep.Tasks[i].Name, reported, want)
		}
		// The dynamic loader of a program opens libraries.
		within(t, rep.Tasks[i].Name+" has "+want, func() bool {
			entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", rep.Tasks[i].HostPID))
			var numbers []string
			for _, e := range entries {
				numbers = append(numbers, e.Name())
			}
			return err == nil && strings.Join(numbers, " ") == want
		})
	}
	if s := rep.Tasks[1].Shares; s != nil {
		t.Errorf("the program shares with %q", s.Files)
	}
	if s := rep.Tasks[2].Shares; s == nil || s.Files != "main" {
		t.Errorf("the thread shares: %v", s)
	}
}

// TestSharedTableConflicts checks that helpers of sharers collide in the naive form, as
// predicted.
func TestSharedTableConflicts(t *testing.T) {
	tasks, _ := crowd()
	path := write(t, sharedFiles+tasks)
	if res := run(t, "conflicts", "--run", path); res.status != 0 {
		t.Errorf("status %d: %s%s", res.status, res.out, res.errors)
	}
	res := run(t, "conflicts", "--run", "--naive", "--strategy", "fdstore", "--service-fd", "50", path)
	for _, want := range []string{`the helper of task "s0"`, `the helper of task "s3"`, "breaks  as predicted"} {
		if res.status != 1 || !strings.Contains(res.out, want) {
			t.Errorf("status %d, no %s in %s%s", res.status, want, res.out, res.errors)
		}
	}
}
