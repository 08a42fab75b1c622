package plantest

import (
	"fmt"
	"testing"

	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// Small has a move, a shared pipe and a private file.
func Small(t testing.TB) *tasktree.Tree {
	t.Helper()
	fd := func(n int, file string) tasktree.Descriptor {
		return tasktree.Descriptor{FD: n, File: Text(file)}
	}
	tree := &tasktree.Tree{
		Source: "small.yaml",
		Files: []*tasktree.OpenFile{
			{Name: "null", Spec: &kind.Reg{Path: Text("/dev/null")}},
			{Name: "p", Spec: &kind.Pipe{Content: Text("x")}},
		},
		Root: &tasktree.Task{
			Name: "init", FDs: []tasktree.Descriptor{fd(7, "p.w"), fd(9, "null")},
			Children: []*tasktree.Task{{Name: "child", FDs: []tasktree.Descriptor{fd(0, "p.r")}}},
		},
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}

// Wide has 1,000 tasks with 10 descriptors each, shared from 200 files.
func Wide(t testing.TB) *tasktree.Tree {
	t.Helper()
	tree := &tasktree.Tree{Root: &tasktree.Task{Name: "root"}}
	for i := range 200 {
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: fmt.Sprintf("f%d", i), Spec: &kind.Reg{Path: Text("/dev/null")}})
	}
	for i := range 1000 {
		task := &tasktree.Task{Name: fmt.Sprintf("t%d", i)}
		for j := range 10 {
			task.FDs = append(task.FDs, tasktree.Descriptor{FD: 10 + j, File: Text(fmt.Sprintf("f%d", (i*7+j*13)%200))})
		}
		tree.Root.Children = append(tree.Root.Children, task)
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}
