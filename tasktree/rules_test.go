package tasktree_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/tasktree"
	_ "regrow/tasktree/attr" // its rules
)

// TestCheck checks the position and the message of each rule.
func TestCheck(t *testing.T) {
	long := strings.Repeat("n", tasktree.MaxNameLen)
	for _, c := range []struct {
		name string
		tree *tasktree.Tree
		want []string
	}{
		{"least", tree(task(9, "a")), nil},
		{
			"everything", inPIDNamespace(tree(
				task(9, "A_0-z", pid(9, 1), fd(10, 0, "log"), fd(11, tasktree.MaxFD, "jobs.w"), run(12, "ls", ""), env(13, "LANG", ""),
					task(14, "0", pid(14, 2), fd(15, 0, "jobs.r"), fd(16, 1, "log"), fd(17, 2, "log")), task(18, "_", pid(18, tasktree.MaxPID))),
				file(5, "log", plain), file(6, "jobs", twoEnd))), nil,
		},
		{"no root", tree(nil, file(5, "log", plain)), []string{"tasks: no task: a tree has exactly one root"}},

		{
			"unknown namespace",
			&tasktree.Tree{Root: task(9, "a"), Namespaces: []tasktree.NamespaceItem{{"pdi", at(2, 1)}, {"mount", at(2, 5)}}},
			[]string{
				`2:1: namespaces[0]: unknown namespace "pdi" (did you mean "pid"?); expected one of pid, user`,
				`2:5: namespaces[1]: unknown namespace "mount"; expected one of pid, user`,
			},
		},
		{
			"namespace twice",
			&tasktree.Tree{Root: task(9, "a"), Namespaces: []tasktree.NamespaceItem{{"pid", at(2, 1)}, {"pid", at(2, 5)}}},
			[]string{`2:5: namespaces[1]: namespace "pid" is listed twice`},
		},

		{
			"bad names of files", tree(task(9, "a"), file(3, "", plain), file(4, "-a", plain), file(5, "a b", plain), file(6, "é", plain), file(7, long, plain), file(8, long+"n", plain)),
			[]string{
				`3:1: files.: open file name "" is empty`,
				`4:1: files.-a: open file name "-a" is invalid; use letters, digits, _ and -, and do not begin with -`,
				`5:1: files.a b: open file name "a b" is invalid; use letters, digits, _ and -, and do not begin with -`,
				`6:1: files.é: open file name "é" is invalid; use letters, digits, _ and -, and do not begin with -`,
				`8:1: files.` + long[:64] + `...: open file name "` + long + `n" is longer than 255 bytes`,
			},
		},
		{
			"file twice", tree(task(9, "a", fd(10, 0, "log")), file(5, "log", plain), file(6, "log", twoEnd)),
			[]string{`6:1: files.log: open file "log" is defined twice (first at 5:1)`},
		},
		{
			"file twice in a program",
			&tasktree.Tree{Root: task(9, "a"), Files: []*tasktree.OpenFile{{Name: "log", Spec: plain}, {Name: "log", Spec: plain}}},
			[]string{`files.log: open file "log" is defined twice`},
		},
		{
			"file without a type, used", tree(task(9, "a", fd(10, 0, "log"), fd(11, 1, "lgo")), file(5, "log", nil)),
			[]string{
				`5:1: files.log.type: the open file has no type`,
				`11:30: tasks[0].fds.1: unknown open file "lgo" (did you mean "log", defined at 5:1?)`,
			},
		},
		{
			"problems of a kind", tree(task(9, "a"), file(5, "log", fake{problems: []tasktree.Problem{
				{Pos: at(7, 8), Path: "flags[1]", Msg: "with a place"}, {Path: "path", Msg: "without one"}, {Msg: "of the entry"},
			}})),
			[]string{`5:1: files.log: of the entry`, `5:1: files.log.path: without one`, `7:8: files.log.flags[1]: with a place`},
		},

		{
			"bad names of tasks", tree(task(9, "", task(10, "a.b"), task(11, long+"n"))),
			[]string{
				`9:1: tasks[0].name: task name "" is empty`,
				`10:1: tasks[0].children[0].name: task name "a.b" is invalid; use letters, digits, _ and -, and do not begin with -`,
				`11:1: tasks[0].children[1].name: task name "` + long + `n" is longer than 255 bytes`,
			},
		},
		{
			"task twice", tree(task(9, "a", task(10, "b"), task(11, "b"), task(12, "c", task(13, "a")))),
			[]string{
				`11:1: tasks[0].children[1].name: task name "b" is used twice (first at 10:1)`,
				`13:1: tasks[0].children[2].children[0].name: task name "a" is used twice (first at 9:1)`,
			},
		},

		{
			"pids out of range", tree(task(9, "a", pid(9, -1), task(10, "b", pid(10, tasktree.MaxPID+1)))),
			[]string{
				`9:20: tasks[0].pid: pid -1 is out of range: expected 1 to 4194304`,
				`10:20: tasks[0].children[0].pid: pid 4194305 is out of range: expected 1 to 4194304`,
			},
		},
		{
			"pid twice", tree(task(9, "a", pid(9, 7), task(10, "b", pid(10, 7)))),
			[]string{`10:20: tasks[0].children[0].pid: pid 7 is also the pid of task "a" (first at 9:20)`},
		},
		{
			"pid of the root of a namespace", inPIDNamespace(tree(task(9, "a", pid(9, 7)))),
			[]string{`9:20: tasks[0].pid: the root of a new pid namespace cannot have pid 7; write 1, which the kernel gives the first task`},
		},
		{
			"pid 1 for a child", inPIDNamespace(tree(task(9, "a", task(10, "b", pid(10, 1))))),
			[]string{`10:20: tasks[0].children[0].pid: in a new pid namespace pid 1 belongs to the root`},
		},
		{
			"pid 1 twice", inPIDNamespace(tree(task(9, "a", pid(9, 1), task(10, "b", pid(10, 1))))),
			[]string{`10:20: tasks[0].children[0].pid: pid 1 is also the pid of task "a" (first at 9:20)`},
		},
		{"any pid without a namespace", tree(task(9, "a", pid(9, 7), task(10, "b", pid(10, 1)))), nil},

		{
			"descriptors out of range", tree(task(9, "a", fd(10, -1, "log"), fd(11, tasktree.MaxFD+1, "nothing")), file(5, "log", plain)),
			[]string{
				`10:1: tasks[0].fds.-1: descriptor -1 is out of range: expected 0 to 1073741823`,
				`11:1: tasks[0].fds.1073741824: descriptor 1073741824 is out of range: expected 0 to 1073741823`,
			},
		},
		{
			"descriptor twice", tree(task(9, "a", fd(10, 3, "log"), fd(11, 3, "log"), task(12, "b", fd(13, 3, "log"))), file(5, "log", plain)),
			[]string{`11:1: tasks[0].fds.3: descriptor 3 is given twice (first at 10:1)`},
		},
		{
			"descriptors twice, in any order",
			tree(task(9, "a", fd(10, 5, "log"), fd(11, -1, "log"), fd(12, 5, "log"), fd(13, 7, "log"), fd(14, 2, "log"), fd(15, 7, "log"), fd(16, 2, "log")), file(5, "log", plain)),
			[]string{
				`11:1: tasks[0].fds.-1: descriptor -1 is out of range: expected 0 to 1073741823`,
				`12:1: tasks[0].fds.5: descriptor 5 is given twice (first at 10:1)`,
				`15:1: tasks[0].fds.7: descriptor 7 is given twice (first at 13:1)`,
				`16:1: tasks[0].fds.2: descriptor 2 is given twice (first at 14:1)`,
			},
		},
		{
			"unknown files", tree(task(9, "a", fd(10, 0, "lgo"), fd(11, 1, "job.r"), fd(12, 2, "else"), fd(13, 3, "")), file(5, "log", plain), file(6, "jobs", twoEnd)),
			[]string{
				`10:30: tasks[0].fds.0: unknown open file "lgo" (did you mean "log", defined at 5:1?)`,
				`11:30: tasks[0].fds.1: unknown open file "job.r" (did you mean "jobs.r", defined at 6:1?)`,
				`12:30: tasks[0].fds.2: unknown open file "else" (define it under files)`,
				`13:30: tasks[0].fds.3: unknown open file "" (define it under files)`,
			},
		},
		{
			"unknown file in a program",
			&tasktree.Tree{
				Files: []*tasktree.OpenFile{{Name: "log", Spec: plain}},
				Root:  &tasktree.Task{Name: "a", FDs: []tasktree.Descriptor{{FD: 1, File: tasktree.Text{Value: "lgo"}}}},
			},
			[]string{`tasks[0].fds.1: unknown open file "lgo" (did you mean "log"?)`},
		},
		{
			"end of what has none", tree(task(9, "a", fd(10, 0, "log.w"), fd(11, 1, "log.")), file(5, "log", plain)),
			[]string{
				`10:30: tasks[0].fds.0: open file "log" is a reg and has no ends (write "log")`,
				`11:30: tasks[0].fds.1: open file "log" is a reg and has no ends (write "log")`,
			},
		},
		{
			"no end, wrong ends", tree(task(9, "a", fd(10, 0, "jobs"), fd(11, 1, "jobs.x"), fd(12, 2, "jobs."), fd(13, 3, "jobs.r.w")), file(6, "jobs", twoEnd)),
			[]string{
				`10:30: tasks[0].fds.0: "jobs" does not name an end of the pipe "jobs"; write jobs.r or jobs.w`,
				`11:30: tasks[0].fds.1: "jobs.x" does not name an end of the pipe "jobs"; write jobs.r or jobs.w`,
				`12:30: tasks[0].fds.2: "jobs." does not name an end of the pipe "jobs"; write jobs.r or jobs.w`,
				`13:30: tasks[0].fds.3: "jobs.r.w" does not name an end of the pipe "jobs"; write jobs.r or jobs.w`,
			},
		},
		{
			"file with a dot is reported once", tree(task(9, "a", fd(10, 0, "a.b")), file(5, "a.b", plain)),
			[]string{`5:1: files.a.b: open file name "a.b" is invalid; use letters, digits, _ and -, and do not begin with -`},
		},
		{
			"even beside a file that has the part before the dot",
			tree(task(9, "a", fd(10, 0, "a.b"), fd(11, 1, "a")), file(4, "a", plain), file(5, "a.b", plain)),
			[]string{`5:1: files.a.b: open file name "a.b" is invalid; use letters, digits, _ and -, and do not begin with -`},
		},

		{
			"empty run", tree(task(9, "a", run(10), task(11, "b", run(12, "", "x")))),
			[]string{
				`10:40: tasks[0].run: run is empty; write a program and its arguments (a task without run holds)`,
				`12:40: tasks[0].children[0].run[0]: run is empty; write a program and its arguments (a task without run holds)`,
			},
		},
		{
			"NUL bytes", tree(task(9, "a", run(10, "ls", "a\x00b"), env(11, "V", "\x00"), func(t *tasktree.Task) { t.Cwd = text(12, cwdCol, "/\x00") })),
			[]string{
				`10:42: tasks[0].run[1]: a NUL byte cannot be part of an argument`,
				`11:50: tasks[0].env.V: a variable cannot contain a NUL byte`,
				`12:60: tasks[0].cwd: a NUL byte cannot be part of a path`,
			},
		},
		{
			"bad variables", tree(task(9, "a", run(10, "ls"), env(11, "", "x"), env(12, "A=B", "x"), env(13, "A\x00", "x"))),
			[]string{
				`11:50: tasks[0].env: "" is not a variable name: a name is not empty and contains neither = nor a NUL byte`,
				`12:50: tasks[0].env: "A=B" is not a variable name: a name is not empty and contains neither = nor a NUL byte`,
				`13:50: tasks[0].env: "A\x00" is not a variable name: a name is not empty and contains neither = nor a NUL byte`,
			},
		},
		{
			"all at once, by position", tree(task(3, "-", fd(9, 0, "x"), pid(2, -1), task(1, ""))),
			[]string{
				`1:1: tasks[0].children[0].name: task name "" is empty`,
				`2:20: tasks[0].pid: pid -1 is out of range: expected 1 to 4194304`,
				`3:1: tasks[0].name: task name "-" is invalid; use letters, digits, _ and -, and do not begin with -`,
				`9:30: tasks[0].fds.0: unknown open file "x" (define it under files)`,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			first := c.tree.Check()
			if diff := cmp.Diff(c.want, lines(first)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			warnings := c.tree.Warnings()
			if diff := cmp.Diff(first, c.tree.Check()); diff != "" {
				t.Errorf("the second Check differs (-first +second):\n%s", diff)
			}
			if diff := cmp.Diff(warnings, c.tree.Warnings()); diff != "" {
				t.Errorf("the second Check warns of something else (-first +second):\n%s", diff)
			}
		})
	}
}

// TestLimits checks what is still allowed, and the one problem of what is not.
func TestLimits(t *testing.T) {
	wide := func(n int) *tasktree.Tree {
		root := task(1, "t0")
		for i := 1; i < n; i++ {
			root.Children = append(root.Children, task(i+1, fmt.Sprintf("t%d", i)))
		}
		return tree(root)
	}
	deep := func(n int) *tasktree.Tree {
		var inner *tasktree.Task
		for i := n; i > 0; i-- {
			outer := task(i, fmt.Sprintf("t%d", i))
			if inner != nil {
				outer.Children = []*tasktree.Task{inner}
			}
			inner = outer
		}
		return tree(inner)
	}
	for _, c := range []struct {
		name  string
		tree  *tasktree.Tree
		tasks int // if there is no problem
		want  []string
	}{
		{"widest", wide(tasktree.MaxTasks), 100_000, nil},
		{"too wide", wide(tasktree.MaxTasks + 2), 0, []string{`100001:1: tasks[0].children[99999]: too many tasks: at most 100000`}},
		{"deepest", deep(tasktree.MaxTaskDeep), 4096, nil},
		{
			"too deep", deep(tasktree.MaxTaskDeep + 2), 0,
			[]string{`4096:1: tasks[0]` + strings.Repeat(".children[0]", 11) + `...[0]` + strings.Repeat(".children[0]", 11) + `.children: the tree is too deep: at most 4096 levels`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lines(c.tree.Check())); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if n := len(c.tree.Tasks()); c.want == nil && n != c.tasks {
				t.Errorf("%d tasks, want %d", n, c.tasks)
			}
		})
	}
}

// TestTwiceIsNotUnused checks that a second file of one name is one problem, and is not
// also reported as unused.
func TestTwiceIsNotUnused(t *testing.T) {
	tr := tree(task(9, "a", fd(10, 0, "log")), file(5, "log", plain), file(6, "log", plain))
	if problems := tr.Check(); len(problems) != 1 {
		t.Errorf("problems %v", problems)
	}
	if warnings := tr.Warnings(); len(warnings) != 0 {
		t.Errorf("warnings %v", warnings)
	}
}

// withoutStandard is the end of the warning about a program without a standard
// descriptor.
func withoutStandard(key, taken string) string {
	return "its output there is lost, and the next file that it opens gets " + taken + ". Define an open file, such as {type: inherit, key: " +
		key + "} or {type: reg, path: /dev/null, flags: [O_RDWR]}, and name it under fds"
}

func closed(d tasktree.Descriptor) tasktree.Descriptor {
	d.Cloexec = true
	return d
}

func shares(with string) func(*tasktree.Task) {
	return func(t *tasktree.Task) { t.SharesFiles = text(t.Pos.Line, entryCol, with) }
}

// TestWarnings checks the warnings.
func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name string
		tree *tasktree.Tree
		want []string
	}{
		{"used by one end", tree(task(9, "a", fd(10, 0, "jobs.r")), file(5, "jobs", twoEnd)), nil},
		{
			"env with run",
			tree(task(9, "a", run(9, "ls"), env(10, "A", "b"), fd(11, 0, "log"), fd(11, 1, "log"), fd(11, 2, "log")), file(5, "log", plain)),
			nil,
		},
		{
			"a program without standard descriptors", tree(task(9, "a", run(9, "ls"))),
			[]string{`9:40: tasks[0].run: the program of task "a" runs without descriptors 0, 1 and 2 (standard input, output and error): ` + withoutStandard("stdout", "one of these numbers")},
		},
		{
			"a program without one, and one that exec closes",
			tree(task(9, "a", task(10, "b", run(10, "ls"), fd(10, 1, "log"), closed(fd(11, 2, "log")))), file(5, "log", plain)),
			[]string{`10:40: tasks[0].children[0].run: the program of task "b" runs without descriptors 0 and 2 (standard input and error), because exec closes close-on-exec descriptors: ` + withoutStandard("stdin", "one of these numbers")},
		},
		{
			"a program with the table of another task",
			tree(task(9, "a", fd(9, 0, "log"), fd(9, 1, "log"), task(10, "b", run(10, "ls"), shares("a"))), file(5, "log", plain)),
			[]string{`10:40: tasks[0].children[0].run: the program of task "b" runs without descriptor 2 (standard error): ` + withoutStandard("stderr", "that number")},
		},
		{"unused", tree(task(9, "a"), file(5, "log", plain)), []string{`5:1: files.log: open file "log" is used by no task and will not be made`}},
		{"env without run", tree(task(9, "a", env(10, "A", "b"))), []string{`9:1: tasks[0]: env has no effect without run`}},
		{
			"empty environment without run", tree(task(9, "a", task(10, "b", func(t *tasktree.Task) { t.EnvClear = true }))),
			[]string{`10:1: tasks[0].children[0]: env has no effect without run`},
		},
		{
			"of a kind, by position",
			tree(task(1, "a", env(1, "A", "b"), fd(2, 0, "log")), file(7, "other", plain),
				file(5, "log", fake{warnings: []tasktree.Problem{{Pos: at(8, 2), Path: "mode", Msg: "with a place"}, {Msg: "of the entry"}}})),
			[]string{
				`1:1: tasks[0]: env has no effect without run`,
				`5:1: files.log: of the entry`,
				`7:1: files.other: open file "other" is used by no task and will not be made`,
				`8:2: files.log.mode: with a place`,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.tree.Check(); got != nil {
				t.Errorf("a warning must not be a problem: %v", got)
			}
			if diff := cmp.Diff(c.want, lines(c.tree.Warnings())); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			c.tree.Root, c.tree.Files = task(1, "a"), nil
			if c.tree.Check(); c.tree.Warnings() != nil {
				t.Errorf("the warning is still there after a change: %v", c.tree.Warnings())
			}
		})
	}
}

// TestDerived checks the fields that Check fills in, and that a second Check clears the
// old values.
func TestDerived(t *testing.T) {
	log, jobs := file(5, "log", plain), file(6, "jobs", twoEnd)
	leaf := task(14, "leaf", fd(15, 4, "jobs.r"))
	inner := task(11, "inner", fd(12, 1, "jobs.w"), fd(13, 0, "log"), leaf)
	last := task(16, "last", fd(17, 0, "log"))
	root := task(9, "root", fd(10, 7, "log"), inner, last)
	tr := tree(root, log, jobs)
	if tr.Tasks() != nil {
		t.Error("tasks before Check")
	}
	if problems := tr.Check(); problems != nil {
		t.Fatal(problems)
	}

	if order := []*tasktree.Task{root, inner, leaf, last}; !slices.Equal(tr.Tasks(), order) {
		t.Errorf("tasks %v are not in the order of the description", names(tr.Tasks()))
	}
	for i, parent := range []*tasktree.Task{nil, root, inner, root} {
		if task := tr.Tasks()[i]; task.Index != i || task.Parent != parent {
			t.Errorf("task %q: index %d, want %d, or wrong parent", task.Name, task.Index, i)
		}
	}
	if log.Index != 0 || jobs.Index != 1 {
		t.Errorf("files have the indices %d and %d", log.Index, jobs.Index)
	}
	if d := inner.FDs[0]; d.Open != jobs || d.End != 1 {
		t.Errorf("descriptor 1 of inner is end %d of %v, want 1 of jobs", d.End, d.Open)
	}
	wantUses(t, log, tasktree.Use{Task: root, FD: 7}, tasktree.Use{Task: inner}, tasktree.Use{Task: last})
	wantUses(t, jobs, tasktree.Use{Task: inner, FD: 1, End: 1}, tasktree.Use{Task: leaf, FD: 4})

	inner.FDs[0].File.Value = "no-such"
	root.Children, tr.Files = []*tasktree.Task{inner}, []*tasktree.OpenFile{jobs, log}
	tr.Check()
	if d := inner.FDs[0]; d.Open != nil || d.End != 0 {
		t.Errorf("a descriptor of an unknown file still has %v, %d", d.Open, d.End)
	}
	if len(tr.Tasks()) != 3 || jobs.Index != 0 || log.Index != 1 {
		t.Errorf("after a change: %d tasks, indices %d and %d", len(tr.Tasks()), jobs.Index, log.Index)
	}
	wantUses(t, log, tasktree.Use{Task: root, FD: 7}, tasktree.Use{Task: inner})
	wantUses(t, jobs, tasktree.Use{Task: leaf, FD: 4})
}

func wantUses(t *testing.T, f *tasktree.OpenFile, want ...tasktree.Use) {
	t.Helper()
	if !slices.Equal(f.Uses, want) {
		t.Errorf("%q is used %d times, want %d, or by others", f.Name, len(f.Uses), len(want))
	}
}

func names(tasks []*tasktree.Task) (ns []string) {
	for _, t := range tasks {
		ns = append(ns, t.Name)
	}
	return ns
}
