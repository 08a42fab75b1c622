package restore

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"regrow/tasktree"
	"regrow/tasktree/kind"
)

func text(s string) tasktree.Text { return tasktree.Text{Value: s} }

// drawTree makes a random checked tree: dense, permuted and sparse numbers,
// files that are shared, private, repeated in one table, or pipes with content.
func drawTree(t *rapid.T, maxTasks int) *tasktree.Tree {
	tree := &tasktree.Tree{Source: "random.yaml"}
	var ends []string
	for i := range rapid.IntRange(1, 12).Draw(t, "files") {
		name := fmt.Sprintf("f%d", i)
		var spec tasktree.Spec
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			spec = &kind.Pipe{Content: text(rapid.StringMatching(`[a-z]{0,20}`).Draw(t, "content"))}
			ends = append(ends, name+".r", name+".w")
		case 1:
			spec = &kind.Inherit{Key: text("stderr")}
			ends = append(ends, name)
		default:
			spec = &kind.Reg{Path: text(rapid.SampledFrom([]string{"/dev/null", "/dev/zero", "/etc", "/proc/version"}).Draw(t, "path"))}
			ends = append(ends, name)
		}
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: name, Spec: spec})
	}
	shape := rapid.IntRange(0, 2).Draw(t, "shape")
	var all []*tasktree.Task
	for i := range rapid.IntRange(1, maxTasks).Draw(t, "tasks") {
		task := &tasktree.Task{Name: fmt.Sprintf("t%d", i)}
		numbers := rapid.SliceOfNDistinct(rapid.IntRange(0, []int{8, 30, 900}[shape]), 0, 9, rapid.ID[int]).Draw(t, "fds")
		for _, n := range numbers {
			task.FDs = append(task.FDs, tasktree.Descriptor{
				FD: n, File: text(rapid.SampledFrom(ends).Draw(t, "end")), Cloexec: rapid.Bool().Draw(t, "cloexec"),
			})
		}
		if i > 0 {
			parent := all[rapid.IntRange(0, i-1).Draw(t, "parent")]
			parent.Children = append(parent.Children, task)
		}
		all = append(all, task)
	}
	tree.Root = all[0]
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatalf("the generator makes an invalid tree: %v", problems)
	}
	return tree
}

// testHost is a host with room.
var testHost = Host{SoftFiles: 1024, HardFiles: 4096, Environ: []string{"PATH=/usr/bin:/bin"}, Cwd: "/"}

func mustPlan(t testing.TB, tree *tasktree.Tree, host Host) *Plan {
	t.Helper()
	p, err := NewPlan(tree, host, PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
