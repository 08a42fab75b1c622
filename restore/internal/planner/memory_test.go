package planner_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/restore/internal/show"
)

// TestBase plans the same tree for two places: the plans are the same but for the
// addresses, which all are as far from each other as the places.
func TestBase(t *testing.T) {
	const base = 0x1234_5678_0000
	tree := plantest.Reference(t, t.TempDir())
	for _, strategy := range plan.Strategies() {
		here := plantest.Must(t)(planner.New(tree, plantest.Host, plan.Options{Strategy: strategy}))
		there := plantest.Must(t)(planner.New(tree, plantest.Host, plan.Options{Strategy: strategy, Memory: plan.Memory{Base: base}}))
		if here.Arena.Base != program.DefaultBase || there.Arena.Base != base {
			t.Fatalf("%v: plans for %#x and %#x", strategy, here.Arena.Base, there.Arena.Base)
		}
		if err := model.Verify(there); err != nil {
			t.Errorf("%v: %v", strategy, err)
		}
		moved := 0
		programs := func(p *plan.Plan) []program.Program {
			return append([]program.Program{p.Prepare, p.Commit}, p.Tasks...)
		}
		for i, prog := range programs(here) {
			other := programs(there)[i]
			if len(prog.Ops) != len(other.Ops) {
				t.Fatalf("%v: program %d has %d ops, and %d there", strategy, i, len(prog.Ops), len(other.Ops))
			}
			for j := range prog.Ops {
				a, b := prog.Ops[j], other.Ops[j]
				for k := range a.Args {
					lowest, end := here.Arena.Private(), here.Arena.Base+uint64(here.ArenaSize())
					if a.Args[k] >= lowest && a.Args[k] < end && b.Args[k]-a.Args[k] == base-program.DefaultBase {
						a.Args[k] = b.Args[k]
						moved++
					}
				}
				if a != b {
					t.Errorf("%v: program %d, op %d is %+v, and there %+v", strategy, i, j, a, b)
				}
			}
		}
		if moved < 50 {
			t.Errorf("%v: only %d addresses", strategy, moved)
		}
		var texts [2]bytes.Buffer
		for i, p := range []*plan.Plan{here, there} {
			if err := show.WriteText(p, &texts[i]); err != nil {
				t.Fatal(err)
			}
		}
		if texts[0].String() != texts[1].String() {
			t.Errorf("%v: the picture differs:\n%s\n%s", strategy, texts[0].String(), texts[1].String())
		}
	}
}

// TestBadBase holds where no plan can lie.
func TestBadBase(t *testing.T) {
	for name, c := range map[string]struct {
		memory plan.Memory
		want   string // "": it can
	}{
		"lowest":      {plan.Memory{Base: program.LowestBase}, ""},
		"too low":     {plan.Memory{Base: program.LowestBase - program.BaseUnit}, "must lie between 0x1000000 and 0x7fffffff0000"},
		"highest":     {plan.Memory{Base: program.EndOfBases - 2*program.BaseUnit}, ""},
		"too high":    {plan.Memory{Base: program.EndOfBases - program.BaseUnit}, "must lie between"},
		"behind all":  {plan.Memory{Base: 1<<64 - program.BaseUnit}, "must lie between"},
		"odd":         {plan.Memory{Base: program.DefaultBase + program.PageSize}, "must be a multiple of 0x10000"},
		"much code":   {plan.Memory{Code: make([]byte, program.CodeSize)}, ""},
		"more code":   {plan.Memory{Code: make([]byte, program.CodeSize+1)}, "there is room for 4096"},
		"last place":  {plan.Memory{Place: program.BaseTries - 1}, ""},
		"base, place": {plan.Memory{Base: program.LowestBase, Place: 3}, ""},
	} {
		p, err := planner.New(plantest.Small(t), plantest.Host, plan.Options{Memory: c.memory})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want == "" && c.memory.Base != 0 && p.Arena.Base != c.memory.Base:
			t.Errorf("%s: planned for %#x", name, p.Arena.Base)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestRebased holds that a plan moves from place to place, and keeps what else was asked.
func TestRebased(t *testing.T) {
	o := plan.Options{Memory: plan.Memory{VDSO: true, Code: []byte{1}}, Strategy: plan.StrategyInherit}
	p := plantest.Must(t)(planner.New(plantest.Small(t), plantest.Host, o))
	for n := range 3 {
		if p.Arena.Base != program.Place(n) || !p.Options.VDSO || !slices.Equal(p.Options.Code, o.Code) || p.Options.Strategy != o.Strategy {
			t.Errorf("place %d: %#x, %+v", n, p.Arena.Base, p.Options)
		}
		p = plantest.Must(t)(planner.Rebased(p))
	}
}
