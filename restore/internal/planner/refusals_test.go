package planner_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// crowded is one task with n descriptors, each of an open file of its own, which
// another task shares if shared is set.
func crowded(t *testing.T, n int, shared bool) *tasktree.Tree {
	t.Helper()
	tree := &tasktree.Tree{Source: "full.yaml", Root: &tasktree.Task{Name: "full", Pos: tasktree.Pos{Line: 1, Col: 1}}}
	other := &tasktree.Task{Name: "other", Pos: tasktree.Pos{Line: 2, Col: 1}}
	for i := range n {
		name := fmt.Sprintf("f%d", i)
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: name, Pos: tree.Root.Pos, Spec: &kind.Reg{Path: plantest.Text("/dev/null")}})
		tree.Root.FDs = append(tree.Root.FDs, tasktree.Descriptor{FD: i, File: plantest.Text(name), Pos: tree.Root.Pos})
		if shared && i < n/2 {
			other.FDs = append(other.FDs, tasktree.Descriptor{FD: i, File: plantest.Text(name), Pos: other.Pos})
		}
	}
	if shared {
		tree.Root.Children = []*tasktree.Task{other}
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}

// TestRefusals holds that what the limit does not allow is refused with the
// numbers, and that the limit which the message asks for is enough.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name     string
		tree     *tasktree.Tree
		strategy plan.Strategy
		limit    int
		want     string
		enough   int
	}{
		{
			"full table", crowded(t, 40, false), plan.StrategyFDStore, 40,
			`task "full" needs 40 numbers, and the strategy fdstore needs 1 more (for the store, or to make a file), 41 in all: the hard RLIMIT_NOFILE is 40 (raise it to 41 `, 41,
		},
		{
			"full table, service", crowded(t, 40, true), plan.StrategyService, 40,
			`task "full" needs 40 numbers, and the strategy service needs 1 more (for the channel to the service, or to make a file), 41 in all`, 41,
		},
		{
			"inherit", crowded(t, 40, false), plan.StrategyInherit, 84,
			`the strategy inherit needs 85 descriptors in the process that restores, two for each of the 40 open files of the tree and 5 for itself: the hard RLIMIT_NOFILE is 84 (raise it to 85 `, 85,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := plan.Host{SoftFiles: uint64(c.limit), HardFiles: uint64(c.limit)}
			_, err := planner.New(c.tree, host, plan.Options{Strategy: c.strategy})
			if _, ok := errors.AsType[*plan.RefusedError](err); !ok || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			host.SoftFiles, host.HardFiles = uint64(c.enough), uint64(c.enough)
			p, err := planner.New(c.tree, host, plan.Options{Strategy: c.strategy})
			if err == nil {
				err = model.Verify(p)
			}
			if err != nil {
				t.Errorf("with a limit of %d: %v", c.enough, err)
			}
		})
	}
	// Many small tasks, so that only the process that restores has too many.
	tree := &tasktree.Tree{Source: "many.yaml", Root: &tasktree.Task{Name: "root", Pos: tasktree.Pos{Line: 1, Col: 1}}}
	for i := range 30 {
		name := fmt.Sprintf("f%d", i)
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: name, Pos: tree.Root.Pos, Spec: &kind.Reg{Path: plantest.Text("/dev/null")}})
		for j := range 2 {
			tree.Root.Children = append(tree.Root.Children, &tasktree.Task{Name: fmt.Sprintf("t%d-%d", i, j), FDs: []tasktree.Descriptor{{FD: 1, File: plantest.Text(name)}}})
		}
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	const want = "many.yaml:1:1: restore: the process that restores has 30 open files of the tree at once, and 5 descriptors of its own (standard ones, the store, a pidfd), 35 in all: the hard RLIMIT_NOFILE is 34 (raise it to 35 "
	if _, err := planner.New(tree, plan.Host{SoftFiles: 34, HardFiles: 34}, plan.Options{}); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := planner.New(tree, plan.Host{SoftFiles: 35, HardFiles: 35}, plan.Options{}); err != nil {
		t.Error(err)
	}
}

// TestInheritNeedsNumbersTwice holds the limit below which the process that
// restores has no room for the files and for the numbers that the root will fill.
func TestInheritNeedsNumbersTwice(t *testing.T) {
	tree := &tasktree.Tree{Source: "many.yaml", Root: &tasktree.Task{Name: "only"}}
	for i := range 20 {
		name := fmt.Sprintf("f%d", i)
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: name, Spec: &kind.Reg{Path: plantest.Text("/dev/null")}})
		tree.Root.FDs = append(tree.Root.FDs, tasktree.Descriptor{FD: i, File: plantest.Text(name)})
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	for limit, fits := range map[uint64]bool{44: false, 45: true} {
		host := plantest.Host
		host.SoftFiles, host.HardFiles = limit, limit
		_, err := planner.New(tree, host, plan.Options{Strategy: plan.StrategyInherit})
		refused, ok := errors.AsType[*plan.RefusedError](err)
		if fits != (err == nil) || !fits && (!ok || !strings.Contains(refused.Error(), "needs 45 descriptors")) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}
