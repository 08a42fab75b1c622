package tasktree

import (
	"slices"
	"strings"
)

// Scenario is a part of a description for regrow conflicts: the process that restores the
// tree, and the expected outcome of each strategy. A restore ignores it.
type Scenario struct {
	Caller Caller
	Expect []Expectation // in the order of the description
}

// Caller describes the process that restores, when it starts. The zero value describes
// nothing.
type Caller struct {
	NoFile    Number     // RLIMIT_NOFILE, soft and hard; Value 0: not changed
	Open      Number     // descriptors 3 to Value-1 are open; Value 0: none of them
	InheritFD []CallerFD // its descriptors that the tree inherits
	ServiceFD Number     // number of the store in the tasks (--service-fd), if said
	Restores  Number     // how many copies of the tree live at once; Value 0: one
}

// CallerFD is a descriptor that the tree inherits by Key.
type CallerFD struct {
	Key Text
	FD  Number
}

// Expectation is the expected outcome of one strategy.
type Expectation struct {
	Strategy string // one of Strategies
	Naive    bool   // the strategy's naive form
	Outcome  Text   // one of Outcomes
	Pos      Pos
}

// Strategies are the names of strategies in descriptions. Package restore implements
// them.
var Strategies = []string{"fdstore", "service", "inherit"}

// The outcomes of a restore.
const (
	Holds   = "holds"   // each task has what the description describes
	Breaks  = "breaks"  // a task does not, or the restore fails after it has begun
	Refused = "refused" // the restore does not begin: no plan fits the limits
)

// Outcomes lists the outcomes of a restore.
var Outcomes = []string{Holds, Breaks, Refused}

// Name returns the strategy's name in descriptions: "fdstore", "naive fdstore".
func (e Expectation) Name() string { return StrategyName(e.Strategy, e.Naive) }

// StrategyName returns the name in descriptions of a strategy in its careful or its naive
// form: "fdstore", "naive fdstore".
func StrategyName(strategy string, naive bool) string {
	if naive {
		return "naive " + strategy
	}
	return strategy
}

// strategyNames returns the names of all strategies, careful forms first.
func strategyNames() (names []string) {
	for _, naive := range []bool{false, true} {
		for _, s := range Strategies {
			names = append(names, StrategyName(s, naive))
		}
	}
	return names
}

// ParseStrategy parses the name of a strategy in a description.
func ParseStrategy(name string) (strategy string, naive, ok bool) {
	strategy, naive = strings.CutPrefix(name, "naive ")
	return strategy, naive, slices.Contains(Strategies, strategy)
}

// Of returns the expected outcome of a strategy, "" if there is none.
func (s *Scenario) Of(strategy string, naive bool) string {
	for _, e := range s.Expect {
		if e.Strategy == strategy && e.Naive == naive {
			return e.Outcome.Value
		}
	}
	return ""
}

// Unsaid returns the strategies without an expected outcome. regrow conflicts --check
// refuses a scenario that has one, because that strategy would not be tested.
func (s *Scenario) Unsaid() []string {
	return slices.DeleteFunc(strategyNames(), func(name string) bool {
		strategy, naive, _ := ParseStrategy(name)
		return s.Of(strategy, naive) != ""
	})
}

// Limits of a scenario, small enough for any machine.
const (
	MaxCallerOpen = 4096
	MaxRestores   = 8
)

func (c *checker) scenario() {
	s := c.tree.Scenario
	if s == nil {
		return
	}
	caller := &KeyPath{Key: "caller"}
	number := func(n Number, path *KeyPath, lo, hi int64) {
		if n.Value != 0 && (n.Value < lo || n.Value > hi) {
			c.bad(n.Pos, path, "%d is out of range: expected %d to %d", n.Value, lo, hi)
		}
	}
	number(s.Caller.NoFile, caller.Sub("nofile"), 1, MaxFD)
	number(s.Caller.Open, caller.Sub("open"), 4, MaxCallerOpen)
	if limit, open := s.Caller.NoFile.Value, s.Caller.Open; limit > 0 && open.Value >= limit {
		c.bad(open.Pos, caller.Sub("open"), "%d open descriptors leave no number free below nofile, %d; open fewer than %[2]d, or raise nofile", open.Value, limit)
	}
	number(s.Caller.Restores, caller.Sub("restores"), 1, MaxRestores)
	if s.Caller.ServiceFD.Said() {
		number(s.Caller.ServiceFD, caller.Sub("service_fd"), 0, MaxFD)
	}
	for _, fd := range s.Caller.InheritFD {
		path := caller.Sub("inherit_fd").Sub(fd.Key.Value)
		number(fd.FD, path, 0, MaxCallerOpen)
		if slices.Contains([]string{"stdin", "stdout", "stderr"}, fd.Key.Value) {
			c.bad(fd.Key.Pos, path, "the key %s always means the caller's own descriptor; use another key", fd.Key.Value)
		}
	}
	if len(s.Expect) > 0 {
		c.expect(s.Expect)
	}
}

func (c *checker) expect(expect []Expectation) {
	names := strategyNames()
	seen := map[string]bool{}
	for _, e := range expect {
		path := (&KeyPath{Key: "expect"}).Sub(e.Name())
		switch {
		case !slices.Contains(names, e.Name()):
			c.bad(e.Pos, path, "unknown strategy %q%s; expected one of %s", e.Name(), DidYouMean(e.Name(), names), strings.Join(names, ", "))
		case seen[e.Name()]:
			c.bad(e.Pos, path, "strategy %q is given twice", e.Name())
		}
		seen[e.Name()] = true
		if !slices.Contains(Outcomes, e.Outcome.Value) {
			c.bad(e.Outcome.Pos, path, "unknown outcome %q%s; expected one of %s", e.Outcome.Value, DidYouMean(e.Outcome.Value, Outcomes), strings.Join(Outcomes, ", "))
		}
	}
}
