package planner_test

import (
	"strings"
	"testing"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// TestUserPlan holds that a plan with a user namespace lets nobody open a file or
// look a program up with rights that are not his.
func TestUserPlan(t *testing.T) {
	for _, namespaces := range [][]tasktree.Namespace{{tasktree.NamespaceUser}, {tasktree.NamespacePID, tasktree.NamespaceUser}} {
		p, err := planner.New(plantest.Reference(t, t.TempDir(), namespaces...), plantest.Host, plan.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := model.Verify(p); err != nil {
			t.Error(err)
		}
		maps, finds := 0, 0
		for i := range p.Tasks {
			for j := range p.Tasks[i].Ops {
				op, note := &p.Tasks[i].Ops[j], p.Tasks[i].Notes[j]
				path := p.Extras[note.Extra].Path
				switch name := words.OpName(op); {
				case name == "openat" && strings.HasPrefix(path, "/proc/self/") && i == 0:
					maps++
				case name == "openat", name == "pipe2":
					t.Errorf("task %d: %s %q", i, name, path)
				case name == "faccessat":
					finds++
				}
			}
		}
		for i := range p.Prepare.Ops {
			if name := words.OpName(&p.Prepare.Ops[i]); name == "faccessat" {
				t.Error("regrow looks a program up for a task with other rights")
			}
		}
		if maps != 3 || finds != 1 {
			t.Errorf("%d maps, %d look-ups", maps, finds)
		}
	}
}
