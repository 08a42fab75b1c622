package model_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
)

// TestModelRejects breaks a good plan in many ways. The model must notice each, or it would
// prove nothing.
func TestModelRejects(t *testing.T) {
	good := plantest.Must(t)(planner.New(plantest.Small(t), plantest.Host, plan.Options{}))
	if err := model.Verify(good); err != nil {
		t.Fatal(err)
	}
	broken := 0
	for task := range good.Tasks {
		for i := range good.Tasks[task].Ops {
			op := &good.Tasks[task].Ops[i]
			descriptors := op.Kind == program.OpPull || op.Kind == program.OpFork ||
				op.Kind == program.OpCall && (op.Nr == unix.SYS_DUP3 || op.Nr == unix.SYS_CLOSE && good.Tasks[task].Notes[i].Verb == program.VerbClose)
			if !descriptors {
				continue
			}
			broken++
			saved := *op
			*op = program.Op{Kind: program.OpCall, Nr: unix.SYS_CHDIR}
			if err := model.Verify(good); err == nil {
				t.Errorf("task %d: dropping op %d (%s) is not noticed", task, i, words.OpName(&saved))
			}
			*op = saved
			if op.Kind == program.OpCall && op.Nr == unix.SYS_DUP3 {
				op.Args[1]++
				if err := model.Verify(good); err == nil {
					t.Errorf("task %d: another number for op %d is not noticed", task, i)
				}
				*op = saved
			}
		}
	}
	if broken < 5 {
		t.Errorf("only %d ops were broken", broken)
	}
}

func BenchmarkVerify(b *testing.B) {
	p := plantest.Must(b)(planner.New(plantest.Wide(b), plantest.Host, plan.Options{}))
	for b.Loop() {
		if err := model.Verify(p); err != nil {
			b.Fatal(err)
		}
	}
}
