package tasktree

import (
	"slices"
	"strings"
)

// Scenario is what a description says beside its tree for those who try it out
// with several strategies: what the process that restores is to be like, and how
// each strategy is expected to end. A restore does not look at it.
type Scenario struct {
	Caller Caller
	Expect []Expectation // in the order of the description; empty: nothing is expected
}

// Caller is what the process that restores has when it starts. The zero value
// asks for nothing.
type Caller struct {
	NoFile    Number     // RLIMIT_NOFILE, soft and hard; Value 0: as it is
	Open      Number     // its descriptors 3 to Value-1 are open; Value 0: none of them
	InheritFD []CallerFD // its descriptors that the tree takes over by a key
	ServiceFD Number     // where the store's descriptor is wanted in the tasks, if it is said
	Restores  Number     // how many such trees live at once; Value 0: one
}

// CallerFD is a descriptor of the caller's that the tree calls Key.
type CallerFD struct {
	Key Text
	FD  Number
}

// Expectation says how the restore of a tree ends with one strategy.
type Expectation struct {
	Strategy string // one of Strategies
	Naive    bool   // it places its helpers without looking
	Outcome  Text   // one of Outcomes
	Pos      Pos
}

// Strategies are the words of a description for the ways to bring open files
// into tasks. Package restore has the strategies themselves.
var Strategies = []string{"fdstore", "service", "inherit"}

// The words for how a restore ends.
const (
	Holds   = "holds"   // each task has what is described
	Breaks  = "breaks"  // some task has not, or the restore fails halfway
	Refused = "refused" // it does not start: no plan fits the limits
)

// Outcomes lists the words for how a restore ends.
var Outcomes = []string{Holds, Breaks, Refused}

// Name gives the words that a description uses: "fdstore", "naive fdstore".
func (e Expectation) Name() string { return StrategyName(e.Strategy, e.Naive) }

// StrategyName gives the words that a description uses for a strategy in its
// careful or its naive form: "fdstore", "naive fdstore".
func StrategyName(strategy string, naive bool) string {
	if naive {
		return "naive " + strategy
	}
	return strategy
}

// strategyNames lists all of them, careful ones first.
func strategyNames() (names []string) {
	for _, naive := range []bool{false, true} {
		for _, s := range Strategies {
			names = append(names, StrategyName(s, naive))
		}
	}
	return names
}

// ParseStrategy reads the words of a description for a strategy.
func ParseStrategy(name string) (strategy string, naive, ok bool) {
	strategy, naive = strings.CutPrefix(name, "naive ")
	return strategy, naive, slices.Contains(Strategies, strategy)
}

// Of gives what is expected of a strategy, "" if nothing is.
func (s *Scenario) Of(strategy string, naive bool) string {
	for _, e := range s.Expect {
		if e.Strategy == strategy && e.Naive == naive {
			return e.Outcome.Value
		}
	}
	return ""
}

// Unsaid gives the strategies of which nothing is expected. A restore does not
// mind; who tries a gallery does, since such a one would be tried by nobody.
func (s *Scenario) Unsaid() []string {
	return slices.DeleteFunc(strategyNames(), func(name string) bool {
		strategy, naive, _ := ParseStrategy(name)
		return s.Of(strategy, naive) != ""
	})
}

// Limits of what a scenario may ask for: small enough for any machine.
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
		c.bad(open.Pos, caller.Sub("open"), "%d open descriptors leave no number free below nofile, which is %d, so the caller can do nothing; open fewer than %[2]d, or raise nofile", open.Value, limit)
	}
	number(s.Caller.Restores, caller.Sub("restores"), 1, MaxRestores)
	if s.Caller.ServiceFD.Said() {
		number(s.Caller.ServiceFD, caller.Sub("service_fd"), 0, MaxFD)
	}
	for _, fd := range s.Caller.InheritFD {
		path := caller.Sub("inherit_fd").Sub(fd.Key.Value)
		number(fd.FD, path, 0, MaxCallerOpen)
		if slices.Contains([]string{"stdin", "stdout", "stderr"}, fd.Key.Value) {
			c.bad(fd.Key.Pos, path, "the key %s already names a descriptor of the caller's", fd.Key.Value)
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
