package e2e

import (
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// pick draws one of those that are fit for something, nil if there is none.
func pick[T any](t *rapid.T, all []*T, fit func(*T) bool) *T {
	var some []*T
	for _, x := range all {
		if fit(x) {
			some = append(some, x)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return rapid.SampledFrom(some).Draw(t, "which")
}

func (t *randomTree) pickFile(rt *rapid.T, fit func(f *randomFile) bool) *randomFile {
	return pick(rt, t.files, func(f *randomFile) bool { return t.rests(slices.Index(t.files, f)) && fit(f) })
}

// pickFD draws a descriptor of a task that holds.
func (t *randomTree) pickFD(rt *rapid.T, fit func(f *randomFile, d *randomFD) bool) (*randomTask, *randomFD) {
	type owned struct {
		task *randomTask
		d    *randomFD
	}
	var all []*owned
	for _, task := range t.tasks {
		for _, d := range task.fds {
			if !task.run && fit(t.files[d.file], d) {
				all = append(all, &owned{task, d})
			}
		}
	}
	if got := pick(rt, all, func(*owned) bool { return true }); got != nil {
		return got.task, got.d
	}
	return nil, nil
}

func anyFD(*randomFile, *randomFD) bool { return true }

func replace[T any](list *[]T, i int, with ...T) { *list = slices.Replace(*list, i, i+1, with...) }

// lineOf gives the place of a key of a task once it is rendered.
func lineOf(rt *rapid.T, tree *randomTree, task *randomTask, key string) *int {
	tree.render()
	line, ok := task.keys[key]
	if !ok {
		rt.Fatalf("%s has no %s", task.name, key)
	}
	return &line
}

// descriptionChanges say something else in one place of a description. Each gives where the
// difference is said then, nil if the tree has no place for it.
var descriptionChanges = []struct {
	name string
	do   func(t *rapid.T, tree *randomTree) *int
}{
	{"close-on-exec", func(t *rapid.T, tree *randomTree) *int {
		_, d := tree.pickFD(t, anyFD)
		if d == nil {
			return nil
		}
		d.cloexec = !d.cloexec
		return &d.line
	}},
	{"another number", func(t *rapid.T, tree *randomTree) *int {
		_, d := tree.pickFD(t, anyFD)
		if d == nil {
			return nil
		}
		d.number = 1001 // see drawNumbers
		return &d.line
	}},
	{"a number less", func(t *rapid.T, tree *randomTree) *int {
		task, d := tree.pickFD(t, anyFD)
		if d == nil {
			return nil
		}
		replace(&task.fds, slices.Index(task.fds, d))
		return &task.line
	}},
	{"another open file", func(t *rapid.T, tree *randomTree) *int {
		_, d := tree.pickFD(t, anyFD)
		if d == nil {
			return nil
		}
		other := rapid.IntRange(0, len(tree.files)-1).Draw(t, "other")
		end := rapid.SampledFrom(tree.files[other].ends()).Draw(t, "end")
		// Of files that only this descriptor has the other one may be just the same.
		if other == d.file || tree.uses(other, end)+tree.uses(d.file, d.end) < 2 {
			return nil
		}
		if a, b := tree.files[other].lent, tree.files[d.file].lent; a >= 0 && a == b {
			return nil // both are one open file
		}
		d.file, d.end = other, end
		return anyLine
	}},
	{"what waits in a socket", func(t *rapid.T, tree *randomTree) *int {
		f := tree.pickFile(t, func(f *randomFile) bool {
			i := slices.Index(tree.files, f) // an end that is closed may have left an error, which hides what waits
			return f.kind == "unix" && tree.uses(i, ".a") > 0 && tree.uses(i, ".b") > 0
		})
		if f == nil {
			return nil
		}
		f.queues[0] = append(slices.Clip(f.queues[0]), randomItem{data: "more"})
		return &f.line
	}},
	{"offset", func(t *rapid.T, tree *randomTree) *int {
		f := tree.pickFile(t, func(f *randomFile) bool {
			return f.seekable && (f.offset >= 0 || !slices.Contains(f.flags, "O_APPEND"))
		})
		if f == nil {
			return nil
		}
		f.offset = max(f.offset, 0) + 1
		return &f.line
	}},
	{"path", func(t *rapid.T, tree *randomTree) *int {
		f := tree.pickFile(t, func(f *randomFile) bool { return f.kind == "reg" && f.path != "empty" && !f.unlinked })
		if f == nil {
			return nil
		}
		f.path = "empty"
		return &f.line
	}},
	{"flags", func(t *rapid.T, tree *randomTree) *int {
		f := tree.pickFile(t, func(f *randomFile) bool { return f.kind == "reg" && !slices.Contains(f.flags, "O_PATH") })
		if f == nil {
			return nil
		}
		if i := slices.Index(f.flags, "O_NONBLOCK"); i >= 0 {
			replace(&f.flags, i)
		} else {
			f.flags = append(f.flags, "O_NONBLOCK")
		}
		return &f.line
	}},
	{"flags of a read end", func(t *rapid.T, tree *randomTree) *int {
		f := tree.pickFile(t, func(f *randomFile) bool { return f.kind == "pipe" && tree.uses(slices.Index(tree.files, f), ".r") > 0 })
		if f == nil {
			return nil
		}
		f.nonblock = !f.nonblock
		return &f.line
	}},
	{"content", func(t *rapid.T, tree *randomTree) *int {
		f := tree.pickFile(t, func(f *randomFile) bool { return f.kind == "pipe" && tree.uses(slices.Index(tree.files, f), ".r") > 0 })
		if f == nil {
			return nil
		}
		f.content += "x"
		return &f.line
	}},
	{"owner", func(t *rapid.T, tree *randomTree) *int {
		f := tree.pickFile(t, func(f *randomFile) bool { return f.kind == "pipe" })
		if f == nil {
			return nil
		}
		f.owner = 7
		return &f.line
	}},
	{"mode", func(t *rapid.T, tree *randomTree) *int {
		f := tree.pickFile(t, func(f *randomFile) bool { return f.kind == "pipe" || f.kind == "fifo" })
		if f == nil {
			return nil
		}
		f.mode = "0777"
		return &f.line
	}},
	{"packets", func(t *rapid.T, tree *randomTree) *int {
		f := tree.pickFile(t, func(f *randomFile) bool {
			return f.kind == "pipe" && (f.capacity == 0 || f.capacity > 8192) && tree.uses(slices.Index(tree.files, f), ".r") > 0
		})
		if f == nil {
			return nil
		}
		f.packet = !f.packet
		return &f.line
	}},
	{"capacity", func(t *rapid.T, tree *randomTree) *int {
		f := tree.pickFile(t, func(f *randomFile) bool { return f.kind == "pipe" })
		if f == nil {
			return nil
		}
		f.capacity = 1 << 17
		return &f.line
	}},
	{"another kind", func(t *rapid.T, tree *randomTree) *int {
		_, d := tree.pickFD(t, func(f *randomFile, _ *randomFD) bool { return f.kind == "reg" && f.lent < 0 })
		if d == nil {
			return nil
		}
		f := tree.files[d.file]
		*f = randomFile{name: f.name, kind: "inherit"}
		return anyLine
	}},
	{"name", func(t *rapid.T, tree *randomTree) *int {
		task := pick(t, tree.tasks, func(task *randomTask) bool { return !task.run })
		if task == nil {
			return nil
		}
		task.name = "another"
		return anyLine
	}},
	{"a task less", func(t *rapid.T, tree *randomTree) *int {
		task := pick(t, tree.tasks, func(task *randomTask) bool {
			i := slices.Index(tree.tasks, task)
			return i > 0 && !tree.tasks[task.parent].run && len(tree.children(i)) == 0
		})
		if task == nil {
			return nil
		}
		i := slices.Index(tree.tasks, task)
		replace(&tree.tasks, i)
		for _, other := range tree.tasks {
			if other.parent > i {
				other.parent--
			}
			if other.shares > i {
				other.shares--
			}
		}
		return anyLine
	}},
	{"a task more", func(t *rapid.T, tree *randomTree) *int {
		more := &randomTask{name: "more", parent: rapid.IntRange(0, len(tree.tasks)-1).Draw(t, "parent"), shares: -1, run: rapid.Bool().Draw(t, "run")}
		tree.tasks = append(tree.tasks, more)
		return anyLine
	}},
	{"another parent", func(t *rapid.T, tree *randomTree) *int {
		task := pick(t, tree.tasks, func(task *randomTask) bool { return task.parent > 0 && task.shares < 0 })
		if task == nil {
			return nil
		}
		task.parent = tree.tasks[task.parent].parent
		return anyLine
	}},
	{"cwd", func(t *rapid.T, tree *randomTree) *int {
		task := pick(t, tree.tasks, func(*randomTask) bool { return true })
		task.cwd = "/dev"
		return lineOf(t, tree, task, "cwd")
	}},
	{"umask", func(t *rapid.T, tree *randomTree) *int {
		task := pick(t, tree.tasks, func(*randomTask) bool { return true })
		task.umask = "0123"
		return lineOf(t, tree, task, "umask")
	}},
	{"nice", func(t *rapid.T, tree *randomTree) *int {
		task := pick(t, tree.tasks, func(task *randomTask) bool { return task.nice != "" })
		if task == nil {
			return nil
		}
		n, err := strconv.Atoi(task.nice)
		if err != nil {
			t.Fatal(err)
		}
		task.nice = strconv.Itoa((n + 1) % 20)
		return lineOf(t, tree, task, "nice")
	}},
	{"a table of its own", func(t *rapid.T, tree *randomTree) *int {
		task := pick(t, tree.tasks, func(task *randomTask) bool { return task.shares >= 0 })
		if task == nil {
			return nil
		}
		for _, d := range tree.tasks[task.shares].fds {
			fd := *d
			task.fds = append(task.fds, &fd)
		}
		task.shares = -1
		return anyLine
	}},
	{"a table of another one", func(t *rapid.T, tree *randomTree) *int {
		task := pick(t, tree.tasks, func(task *randomTask) bool {
			return !task.run && task.shares < 0 && task.parent >= 0 && !tree.tasks[task.parent].run && tree.tasks[task.parent].shares < 0 &&
				!slices.ContainsFunc(tree.tasks, func(other *randomTask) bool {
					return other.shares >= 0 && tree.tasks[other.shares] == task
				})
		})
		if task == nil {
			return nil
		}
		task.shares, task.fds = task.parent, nil
		return lineOf(t, tree, task, "shares")
	}},
	{"namespaces", func(t *rapid.T, tree *randomTree) *int {
		if slices.ContainsFunc(tree.tasks, func(task *randomTask) bool { return task.pid > 0 }) {
			return nil // they are other numbers then
		}
		tree.namespaces = map[string]string{"": "pid", "pid": "", "user, pid": "pid"}[tree.namespaces]
		return anyLine
	}},
	{"pid", func(t *rapid.T, tree *randomTree) *int {
		task := pick(t, tree.tasks, func(task *randomTask) bool { return task.parent >= 0 })
		if task == nil {
			return nil
		}
		task.pid = 400_000 // more than pid_max, where a test runs
		return lineOf(t, tree, task, "pid")
	}},
}

// liveEvents happen to a live tree. Each gives where verify must say so, nil if the tree has no
// place for it.
var liveEvents = []struct {
	name    string
	injects bool // a task makes a call that the test injects
	do      func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int
}{
	{"seek", false, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task, d := tree.pickFD(rt, func(f *randomFile, d *randomFD) bool {
			return f.seekable && tree.rests(d.file) && (f.offset >= 0 || !slices.Contains(f.flags, "O_APPEND"))
		})
		if d == nil {
			return nil
		}
		at(t, pids[task.name], d.number, seek(int64(max(tree.files[d.file].offset, 0)+1)))
		return &tree.files[d.file].line
	}},
	{"fcntl", false, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task, d := tree.pickFD(rt, func(f *randomFile, d *randomFD) bool {
			return !slices.Contains(f.flags, "O_PATH") && tree.rests(d.file)
		})
		if d == nil {
			return nil
		}
		at(t, pids[task.name], d.number, func(fd int) error {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if err != nil {
				return err
			}
			return setFlags(flags ^ unix.O_NONBLOCK)(fd)
		})
		return &tree.files[d.file].line
	}},
	{"write", false, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task, d := tree.pickFD(rt, func(_ *randomFile, d *randomFD) bool {
			return d.end == ".w" && tree.rests(d.file) && tree.uses(d.file, ".r") > 0
		})
		if d == nil {
			return nil
		}
		at(t, pids[task.name], d.number, sends("more"))
		return &tree.files[d.file].line
	}},
	{"read", false, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task, d := tree.pickFD(rt, func(f *randomFile, d *randomFD) bool {
			return d.end == ".r" && (f.content != "" || f.packet) && tree.rests(d.file)
		})
		if d == nil {
			return nil
		}
		at(t, pids[task.name], d.number, takes(1))
		return &tree.files[d.file].line
	}},
	{"kill", false, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task := pick(rt, tree.tasks, func(task *randomTask) bool {
			return task.parent >= 0 && !tree.tasks[task.parent].run && len(tree.children(slices.Index(tree.tasks, task))) == 0
		})
		if task == nil {
			return nil
		}
		end(t, pids[task.name])
		for i, other := range tree.tasks {
			if other != task && other.run && task.run && other.parent == task.parent && i > 0 {
				return anyLine // it may have run just the same
			}
		}
		return &task.line
	}},
	{"close", true, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task, d := tree.pickFD(rt, anyFD)
		if d == nil {
			return nil
		}
		calls(task.name, unix.SYS_CLOSE, uint64(d.number))(t, pids)
		return &d.line
	}},
	{"dup", true, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task, d := tree.pickFD(rt, anyFD)
		if d == nil {
			return nil
		}
		calls(task.name, unix.SYS_DUP3, uint64(d.number), 1002, 0)(t, pids)
		return &task.line
	}},
	{"dup over", true, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task, d := tree.pickFD(rt, anyFD)
		if d == nil {
			return nil
		}
		lent := func(d *randomFD) int { return tree.files[d.file].lent }
		other := pick(rt, task.fds, func(o *randomFD) bool {
			return (o.file != d.file || o.end != d.end) && (lent(o) < 0 || lent(o) != lent(d))
		})
		if other == nil {
			return nil
		}
		calls(task.name, unix.SYS_DUP3, uint64(other.number), uint64(d.number), 0)(t, pids)
		return anyLine
	}},
	{"close-on-exec", true, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task, d := tree.pickFD(rt, anyFD)
		if d == nil {
			return nil
		}
		flag := uint64(unix.FD_CLOEXEC)
		if d.cloexec {
			flag = 0
		}
		calls(task.name, unix.SYS_FCNTL, uint64(d.number), unix.F_SETFD, flag)(t, pids)
		return &d.line
	}},
	{"fork", true, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task := pick(rt, tree.tasks, func(task *randomTask) bool { return !task.run })
		if task == nil {
			return nil
		}
		calls(task.name, unix.SYS_CLONE, uint64(unix.SIGCHLD))(t, pids)
		return &task.line
	}},
	{"unshare", true, func(t *testing.T, rt *rapid.T, tree *randomTree, pids map[string]int) *int {
		task := pick(rt, tree.tasks, func(task *randomTask) bool { return task.shares >= 0 })
		if task == nil {
			return nil
		}
		calls(task.name, unix.SYS_UNSHARE, unix.CLONE_FILES)(t, pids)
		return anyLine
	}},
}
