package shrink

import (
	"slices"

	"regrow/tasktree"
)

// tree is a tree in parts: a list of tasks, each with the index of its parent, so that it
// is cheap to leave out some. It is immutable.
type tree struct {
	head   tasktree.Tree // without tasks
	tasks  []*tasktree.Task
	parent []int // -1: the root
}

// parts takes a checked tree apart.
func parts(t *tasktree.Tree) tree {
	p := tree{head: tasktree.Tree{
		Source: t.Source, Dir: t.Dir, Namespaces: t.Namespaces, Files: t.Files, Scenario: t.Scenario,
	}}
	for _, task := range t.Tasks() {
		each := *task
		each.Cloexec = tasktree.Cloexec{} // its descriptors are marked, so each can be left out
		p.tasks = append(p.tasks, &each)
		up := -1
		if task.Parent != nil {
			up = task.Parent.Index
		}
		p.parent = append(p.parent, up)
	}
	return p
}

// build makes a tree of the parts and the open files that they need, and reports whether it
// is valid. The result shares only immutable data with the original.
func (p tree) build() (*tasktree.Tree, bool) {
	t := p.head
	tasks := make([]*tasktree.Task, len(p.tasks))
	needed := map[*tasktree.OpenFile]bool{}
	var need func(f *tasktree.OpenFile)
	need = func(f *tasktree.OpenFile) {
		if !needed[f] {
			needed[f] = true
			for _, to := range f.Refers {
				need(to)
			}
		}
	}
	for i, original := range p.tasks {
		task := *original
		task.FDs, task.Children = slices.Clone(original.FDs), nil
		for _, d := range task.FDs {
			need(d.Open)
		}
		tasks[i] = &task
		if up := p.parent[i]; up >= 0 {
			tasks[up].Children = append(tasks[up].Children, &task)
		} else {
			t.Root = &task
		}
	}
	t.Files = nil
	for _, f := range p.head.Files {
		if needed[f] {
			file := *f
			t.Files = append(t.Files, &file)
		}
	}
	return &t, len(t.Check()) == 0
}

// withoutTasks leaves out the tasks from ... to-1. Their children go to the nearest
// ancestor that is left. If the root is left out, its first child becomes the root.
func (p tree) withoutTasks(from, to int) tree {
	c := tree{head: p.head}
	place := make([]int, len(p.tasks)) // index in c of a task, or of its nearest ancestor there
	for i, task := range p.tasks {
		up := -1
		if p.parent[i] >= 0 {
			up = place[p.parent[i]]
		}
		if i >= from && i < to {
			place[i] = up
			continue
		}
		if up < 0 && len(c.tasks) > 0 {
			up = 0
		}
		place[i] = len(c.tasks)
		c.tasks, c.parent = append(c.tasks, task), append(c.parent, up)
	}
	return c
}

// withoutDescriptors leaves out the descriptors from ... to-1, counted through all tasks.
func (p tree) withoutDescriptors(from, to int) tree {
	c := p
	c.tasks = slices.Clone(p.tasks)
	first := 0
	for i, task := range p.tasks {
		lo, hi := max(from-first, 0), min(to-first, len(task.FDs))
		first += len(task.FDs)
		if lo >= hi {
			continue
		}
		smaller := *task
		smaller.FDs = slices.Delete(slices.Clone(task.FDs), lo, hi)
		c.tasks[i] = &smaller
	}
	return c
}

// withTask changes one task and reports whether the tree is then smaller.
func (p tree) withTask(i int, change func(*tasktree.Task)) (tree, bool) {
	task := *p.tasks[i]
	task.FDs = slices.Clone(task.FDs)
	before := weight(&task)
	change(&task)
	c := p
	c.tasks = slices.Clone(p.tasks)
	c.tasks[i] = &task
	return c, weight(&task) < before
}

// merged makes the descriptors of one open file refer to another one.
func (p tree) merged(from, to *tasktree.OpenFile) tree {
	c := p
	c.tasks = slices.Clone(p.tasks)
	for i, task := range p.tasks {
		changed := *task
		changed.FDs = slices.Clone(task.FDs)
		for j := range changed.FDs {
			if d := &changed.FDs[j]; d.Open.Name == from.Name {
				d.Open, d.File.Value = to, to.EndName(d.End)
				c.tasks[i] = &changed
			}
		}
	}
	return c
}

// used lists the open files that descriptors refer to, in the order of the description.
func (p tree) used() (files []*tasktree.OpenFile) {
	names := map[string]bool{}
	for _, task := range p.tasks {
		for _, d := range task.FDs {
			names[d.Open.Name] = true
		}
	}
	for _, f := range p.head.Files {
		if names[f.Name] {
			files = append(files, f)
		}
	}
	return files
}

func (p tree) descriptors() (n int) {
	for _, task := range p.tasks {
		n += len(task.FDs)
	}
	return n
}

// size counts everything that can be left out.
func (p tree) size() int {
	n := len(p.head.Namespaces) + len(p.used())
	for _, task := range p.tasks {
		n += 1 + weight(task)
	}
	return n
}

func weight(t *tasktree.Task) int {
	n := len(t.FDs) + len(t.Run) + len(t.Env) + len(t.Attributes)
	for _, d := range t.FDs {
		n += ofBool(d.Cloexec)
	}
	return n + ofBool(t.EnvClear) + ofBool(t.Cwd.Value != "") + ofBool(t.PID.Value != 0) + ofBool(t.SharesFiles.Value != "")
}

func ofBool(b bool) int {
	if b {
		return 1
	}
	return 0
}
