package shrink_test

import (
	"fmt"
	"testing"

	"regrow/restore"
	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/shrink"
)

// BenchmarkTree shrinks 300 tasks with 3,000 descriptors of 100 files to a tree that still
// has a conflict with a naive strategy; and a full table to itself, of which nothing can be
// left out, so that still is called most often.
func BenchmarkTree(b *testing.B) {
	text := func(s string) tasktree.Text { return tasktree.Text{Value: s} }
	tree := &tasktree.Tree{Root: &tasktree.Task{Name: "root"}}
	for i := range 128 {
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: fmt.Sprintf("f%d", i), Spec: &kind.Reg{Path: text("/dev/null")}})
	}
	for i := range 299 {
		task := &tasktree.Task{Name: fmt.Sprintf("t%d", i)}
		for n := range 10 {
			task.FDs = append(task.FDs, tasktree.Descriptor{FD: (n*7 + i) % 13, File: text(fmt.Sprintf("f%d", (i*31+n*17)%100))})
		}
		tree.Root.Children = append(tree.Root.Children, task)
	}
	full := tree.Root.Children[150]
	full.FDs = nil
	for n := range 128 {
		full.FDs = append(full.FDs, tasktree.Descriptor{FD: n, File: text(fmt.Sprintf("f%d", n))})
	}
	if problems := tree.Check(); len(problems) > 0 {
		b.Fatal(problems)
	}
	host := restore.Host{SoftFiles: 128, HardFiles: 128, Cwd: "/"}
	roomy := restore.Host{SoftFiles: 1024, HardFiles: 1024, Cwd: "/"}
	for _, c := range []struct {
		name  string
		host  restore.Host
		o     restore.PlanOptions
		least int
	}{
		{"fdstore, naive", roomy, restore.PlanOptions{Naive: true}, 1},
		{"inherit, naive", roomy, restore.PlanOptions{Strategy: restore.StrategyInherit, Naive: true}, 2},
		{"refused", host, restore.PlanOptions{}, 128},
	} {
		b.Run(c.name, func(b *testing.B) {
			asked := 0
			conflict := func(t *tasktree.Tree) bool {
				asked++
				plan, err := restore.NewPlan(t, c.host, c.o)
				if err != nil || c.least == 128 {
					return err != nil
				}
				p, err := plan.Predict()
				return err == nil && !p.Held()
			}
			for b.Loop() {
				small := shrink.Tree(tree, conflict)
				fds := 0
				for _, task := range small.Tasks() {
					fds += len(task.FDs)
				}
				if fds < c.least || len(small.Tasks()) > 2 {
					b.Fatalf("%d tasks, %d descriptors", len(small.Tasks()), fds)
				}
			}
			b.ReportMetric(float64(asked)/float64(b.N), "questions/op")
		})
	}
}
