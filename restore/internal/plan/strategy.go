package plan

import (
	"fmt"
	"slices"
	"strings"

	"regrow/tasktree"
)

// Strategy is how open files that the runner makes get into the tables of the tasks. All
// strategies use the same ops and the same runner.
type Strategy uint8

// The strategies. Each has a careful form, whose helpers never collide with a descriptor of
// the tree, and a naive form ([Options.Naive]).
const (
	// StrategyFDStore keeps the files in a socket, from which each task pulls the files
	// that it needs: package fdstore.
	StrategyFDStore Strategy = iota
	// StrategyService keeps the files in a process of its own, which sends each task the
	// files that it needs: package internal/service. The program that restores must call
	// Init of package restore first in main.
	StrategyService
	// StrategyInherit has no store: the root gets every open file before it forks. All
	// tasks inherit all of them and close those that they do not need.
	StrategyInherit
)

var strategyNames = []string{"fdstore", "service", "inherit"}

// Strategies lists all strategies, the default first.
func Strategies() []Strategy {
	all := make([]Strategy, len(strategyNames))
	for i := range all {
		all[i] = Strategy(i)
	}
	return all
}

// String returns the name on the command line.
func (s Strategy) String() string {
	if int(s) < len(strategyNames) {
		return strategyNames[s]
	}
	return fmt.Sprintf("strategy %d", uint8(s))
}

// ParseStrategy is the inverse of [Strategy.String]. The error lists the valid names and the
// one that was probably meant.
func ParseStrategy(name string) (Strategy, error) {
	if i := slices.Index(strategyNames, name); i >= 0 {
		return Strategy(i), nil
	}
	return 0, fmt.Errorf("unknown strategy %q%s; expected one of %s",
		name, tasktree.DidYouMean(name, strategyNames), strings.Join(strategyNames, ", "))
}

// MarshalText returns the name, for JSON.
func (s Strategy) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses the name.
func (s *Strategy) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStrategy(string(text))
	return err
}
