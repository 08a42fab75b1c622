package tasktree_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/tasktree"
)

// TestScenario checks the rules for scenarios that a program has made. Scenarios of
// descriptions are in images/testdata/bad.
func TestScenario(t *testing.T) {
	expect := func(outcome string, names ...string) (all []tasktree.Expectation) {
		for _, name := range names {
			e := tasktree.Expectation{Outcome: tasktree.Text{Value: outcome}}
			e.Strategy, e.Naive, _ = tasktree.ParseStrategy(name)
			all = append(all, e)
		}
		return all
	}
	all := []string{"fdstore", "service", "inherit", "naive fdstore", "naive service", "naive inherit"}
	number := func(n int64) tasktree.Number { return tasktree.Number{Value: n} }
	negative := number(-1)
	for _, c := range []struct {
		name string
		s    *tasktree.Scenario
		want []string
	}{
		{"none", nil, nil},
		{"nothing said", &tasktree.Scenario{}, nil},
		{"all", &tasktree.Scenario{Expect: expect("refused", all...)}, nil},
		{"one left out", &tasktree.Scenario{Expect: expect("holds", all[1:]...)}, nil},
		{
			"one twice",
			&tasktree.Scenario{Expect: expect("holds", append(all, "inherit")...)},
			[]string{`expect.inherit: strategy "inherit" is given twice`},
		},
		{
			"out of range",
			&tasktree.Scenario{Caller: tasktree.Caller{
				NoFile: number(-5), Open: number(3), Restores: number(9), ServiceFD: negative,
				InheritFD: []tasktree.CallerFD{{Key: tasktree.Text{Value: "log"}, FD: number(-1)}},
			}},
			[]string{
				"caller.inherit_fd.log: -1 is out of range: expected 0 to 4096",
				"caller.nofile: -5 is out of range: expected 1 to 1073741823",
				"caller.open: 3 is out of range: expected 4 to 4096",
				"caller.restores: 9 is out of range: expected 1 to 8",
				"caller.service_fd: -1 is out of range: expected 0 to 1073741823",
			},
		},
		{"room above the open ones", &tasktree.Scenario{Caller: tasktree.Caller{NoFile: number(121), Open: number(120)}}, nil},
		{
			"no room above the open ones",
			&tasktree.Scenario{Caller: tasktree.Caller{NoFile: number(120), Open: number(120)}},
			[]string{"caller.open: 120 open descriptors leave no number free below nofile, 120; open fewer than 120, or raise nofile"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := &tasktree.Tree{Root: &tasktree.Task{Name: "a"}, Scenario: c.s}
			var got []string
			for _, p := range tree.Check() {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestStrategyNames(t *testing.T) {
	for _, s := range tasktree.Strategies {
		for _, naive := range []bool{false, true} {
			name := tasktree.StrategyName(s, naive)
			if got, n, ok := tasktree.ParseStrategy(name); got != s || n != naive || !ok {
				t.Errorf("%q is %q, %v, %v", name, got, n, ok)
			}
			sc := tasktree.Scenario{Expect: []tasktree.Expectation{{Strategy: s, Naive: naive, Outcome: tasktree.Text{Value: "breaks"}}}}
			if sc.Of(s, naive) != "breaks" || sc.Of(s, !naive) != "" {
				t.Errorf("%q: %q, %q", name, sc.Of(s, naive), sc.Of(s, !naive))
			}
		}
	}
	for _, name := range []string{"", "naive", "naive ", "fdstore naive", "naive naive fdstore"} {
		if _, _, ok := tasktree.ParseStrategy(name); ok {
			t.Errorf("%q is taken for a strategy", name)
		}
	}
}
