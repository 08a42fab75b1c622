package words

import (
	"strings"
	"testing"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
)

func TestNumbersText(t *testing.T) {
	numbers := []int32{0, 1, 2, 7}
	for n := int32(10); n < 26; n++ {
		numbers = append(numbers, n)
	}
	if got, want := numbersText(append(numbers, 30)), "0 1 2 7 10-25 30"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestEveryOpHasWords writes every op of plans that use everything, with all strategies: no
// braces are left, and every call has a name.
func TestEveryOpHasWords(t *testing.T) {
	for _, strategy := range plan.Strategies() {
		p := plantest.Must(t)(planner.New(plantest.Reference(t, t.TempDir()), plantest.Host, plan.Options{Strategy: strategy}))
		for _, prog := range append([]program.Program{p.Prepare, p.Commit}, p.Tasks...) {
			for i := range prog.Ops {
				op, note := &prog.Ops[i], prog.Notes[i]
				for _, text := range []string{Call(p, op, note), What(p, op, note), CallName(p, op, note)} {
					if text == "" || strings.ContainsAny(text, "{}") || strings.Contains(text, "syscall ") {
						t.Errorf("%v: op of kind %d: %q", strategy, op.Kind, text)
					}
				}
			}
		}
	}
}
