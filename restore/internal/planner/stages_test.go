package planner_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
)

// staged has a call in each stage, which says its stage as argument.
func staged(w recipe.Wirer) {
	for s := range recipe.Stages {
		w.Call(s, recipe.Call{Name: "getpid", Nr: unix.SYS_GETPID, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.Int(int64(s))}})
	}
}

// TestStages holds where the stages stand in a program, whatever it does between them.
func TestStages(t *testing.T) {
	tree := &tasktree.Tree{
		Files: []*tasktree.OpenFile{{Name: "p", Spec: &kind.Pipe{}}},
		Root: &tasktree.Task{
			Name: "root", FDs: []tasktree.Descriptor{{FD: 3, File: plantest.Text("p.r")}}, Cwd: plantest.Text("/tmp"),
			Attributes: plantest.Steps(staged), Children: []*tasktree.Task{{Name: "child", FDs: []tasktree.Descriptor{{FD: 4, File: plantest.Text("p.w")}}}},
		},
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, strategy := range plan.Strategies() {
		p, err := planner.New(tree, plantest.Host, plan.Options{Strategy: strategy})
		if err != nil {
			t.Fatal(err)
		}
		if err := model.Verify(p); err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range p.Tasks[0].Ops {
			switch op := &p.Tasks[0].Ops[i]; {
			case op.Kind == program.OpFork:
				got = append(got, "fork")
			case op.Kind == program.OpCall && op.Nr == unix.SYS_GETPID:
				got = append(got, [...]string{"Enter", "Session", "Turns", "Groups", "Wired", "Place", "Deaths", "Rights", "LastFiles", "Stops", "Last", "End"}[op.Args[0]])
			case p.Tasks[0].Notes[i].Verb == program.VerbInstall && (len(got) == 0 || got[len(got)-1] != "install"):
				got = append(got, "install")
			case op.Nr == unix.SYS_RT_SIGPROCMASK:
				got = append(got, "mask")
			case op.Nr == unix.SYS_CHDIR:
				got = append(got, "folder")
			case op.Nr == unix.SYS_FUTEX && p.Tasks[0].Notes[i].Verb == program.VerbReady:
				got = append(got, "ready")
			case op.Kind == program.OpGate:
				got = append(got, "gate")
			case op.Kind == program.OpHold:
				got = append(got, "hold")
			}
		}
		want := []string{"Enter", "Session", "fork", "Turns", "Groups", "install", "Wired", "Place", "folder", "Deaths", "Rights", "LastFiles", "Stops", "ready", "gate", "Last", "mask", "End", "hold"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", strategy, diff)
		}
		for i := range p.Tasks[1].Ops {
			if p.Tasks[1].Ops[i].Nr == unix.SYS_GETPID {
				t.Errorf("%v: the child has the attribute of its parent", strategy)
			}
		}
	}
}
