package host

import (
	"testing"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/tasktree"
)

func text(s string) tasktree.Text { return tasktree.Text{Value: s} }

var testHost = plan.Host{SoftFiles: 1024, HardFiles: 4096, Environ: []string{"PATH=/usr/bin:/bin"}, Cwd: "/"}

func mustPlan(t testing.TB, tree *tasktree.Tree, host plan.Host) *plan.Plan {
	t.Helper()
	p, err := planner.New(tree, host, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
