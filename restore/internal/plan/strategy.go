package plan

import (
	"fmt"
	"slices"
	"strings"

	"regrow/tasktree"
)

// Strategy says how open files that the runner makes get into the tables of the
// tasks. All strategies are plans for the same executor.
type Strategy uint8

// The strategies. Each has a careful form, which places its own descriptors so
// that none is ever in the way, and a naive one ([Options.Naive]).
const (
	// StrategyFDStore keeps the files in a socket, from which each task pulls
	// what it needs: package fdstore.
	StrategyFDStore Strategy = iota
	// StrategyService keeps the files in a process of its own, which each task
	// asks for what it needs: package internal/service. The program that restores
	// calls Init of package restore first of all in main.
	StrategyService
	// StrategyInherit has no store: the root gets every open file before it
	// forks, all tasks inherit all of them and close what they do not need.
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

// String gives the name that the command line uses.
func (s Strategy) String() string {
	if int(s) < len(strategyNames) {
		return strategyNames[s]
	}
	return fmt.Sprintf("strategy %d", uint8(s))
}

// ParseStrategy is the inverse of [Strategy.String]. The error says which names
// there are, and which one was probably meant.
func ParseStrategy(name string) (Strategy, error) {
	if i := slices.Index(strategyNames, name); i >= 0 {
		return Strategy(i), nil
	}
	return 0, fmt.Errorf("unknown strategy %q%s; expected one of %s",
		name, tasktree.DidYouMean(name, strategyNames), strings.Join(strategyNames, ", "))
}

// MarshalText gives the name, for JSON.
func (s Strategy) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *Strategy) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStrategy(string(text))
	return err
}
