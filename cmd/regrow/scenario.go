package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"regrow/restore"
	"regrow/restore/parts"
	"regrow/tasktree"
)

// trialTimeout limits one restore of a trial: a naive restore may wait forever for a
// descriptor that it has closed.
const trialTimeout = 30 * time.Second

// lacks is the outcome of a trial for which this host lacks something.
const lacks = "lacks"

// trial is a scenario with one strategy: expected, predicted and real outcome.
type trial struct {
	Strategy  string   `json:"strategy"`
	Naive     bool     `json:"naive"`
	Expected  string   `json:"expected"`
	Predicted verdict  `json:"predicted"`
	Real      verdict  `json:"real"`
	Differ    []string `json:"differ,omitempty"` // where prediction and reality are not the same
}

// verdict is the outcome of a restore.
type verdict struct {
	Outcome string   `json:"outcome"`         // one of tasktree.Outcomes, or lacks
	Lost    []string `json:"lost,omitempty"`  // descriptors that differ from the description, as TASK.FD
	Because string   `json:"cause,omitempty"` // the first collision, or an error
}

// unexpected lists the outcomes that are not as expected.
func (t *trial) unexpected() (all []string) {
	for _, v := range []struct {
		how string
		verdict
	}{{"predicted", t.Predicted}, {"got", t.Real}} {
		if v.Outcome != t.Expected && v.Outcome != lacks {
			all = append(all, fmt.Sprintf("%s: expected %s, %s %s", tasktree.StrategyName(t.Strategy, t.Naive), t.Expected, v.how, v.verdict))
		}
	}
	for _, d := range t.Differ {
		all = append(all, tasktree.StrategyName(t.Strategy, t.Naive)+": "+d)
	}
	return all
}

func (v verdict) String() string {
	s := v.Outcome
	if len(v.Lost) > 0 {
		s += " (" + strings.Join(v.Lost, ", ") + ")"
	}
	if v.Because != "" {
		s += ": " + v.Because
	}
	return s
}

// tryScenario tries a scenario with each strategy in this process, which must be the
// caller that the scenario describes.
func tryScenario(ctx context.Context, tree *tasktree.Tree) ([]trial, error) {
	host, err := restore.ThisHost()
	if err != nil {
		return nil, err
	}
	if tree, err = replaceForCaller(tree); err != nil {
		return nil, err
	}
	var all []trial
	for _, e := range tree.Scenario.Expect {
		strategy, err := restore.ParseStrategy(e.Strategy)
		if err != nil {
			return nil, err
		}
		o := callerOptions(tree.Scenario)
		o.Strategy, o.Naive = strategy, e.Naive
		t := trial{Strategy: e.Strategy, Naive: e.Naive, Expected: e.Outcome.Value}
		if err := t.run(ctx, tree, host, o); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		all = append(all, t)
	}
	return all, nil
}

// asPlanned returns the tree and the options of its plans, as the flags say, or without
// flags the scenario.
func (f *conflictsFlags) asPlanned(cmd *cobra.Command, d *description) (*tasktree.Tree, restore.PlanOptions, error) {
	if err := f.inherit.checkStdin(d); err != nil {
		return nil, restore.PlanOptions{}, err
	}
	tree := d.tree
	replaced, err := f.inherit.replace(tree)
	o := restore.PlanOptions{Inherit: f.inherit.fds}
	if !f.flagsOfCaller(cmd) {
		replaced, err = replaceForCaller(tree)
		o = callerOptions(tree.Scenario)
	}
	if err != nil {
		return nil, o, err
	}
	o.WithoutStdin = d.stdin
	o, err = f.strategy.options(o)
	return replaced, o, err
}

// callerOptions returns the options that a scenario gives in place of flags.
func callerOptions(s *tasktree.Scenario) restore.PlanOptions {
	o := restore.PlanOptions{}
	if s == nil {
		return o
	}
	for _, fd := range s.Caller.InheritFD {
		if o.Inherit == nil {
			o.Inherit = map[string]int{}
		}
		o.Inherit[fd.Key.Value] = int(fd.FD.Value)
	}
	if s.Caller.ServiceFD.Said() {
		n := int(s.Caller.ServiceFD.Value)
		o.ServiceFD = &n
	}
	return o
}

// run predicts and tries one strategy.
func (t *trial) run(ctx context.Context, tree *tasktree.Tree, host restore.Host, o restore.PlanOptions) error {
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	plan, err := restore.NewPlan(tree, host, o)
	if refused, ok := errors.AsType[*restore.RefusedError](err); ok {
		t.Predicted = verdict{Outcome: tasktree.Refused, Because: refused.Error()}
		t.Real = t.Predicted
		return nil
	}
	if err != nil {
		return err
	}
	prediction, err := plan.Predict()
	if err != nil {
		return err
	}
	outcomes := make([]parts.Outcome, len(prediction.Tasks))
	for i, task := range prediction.Tasks {
		outcomes[i] = task.Outcome
	}
	t.Predicted = judge(tree, outcomes)
	if len(prediction.Collisions) > 0 {
		t.Predicted.Because = prediction.Collisions[0].String()
	}
	var seen *observation
	err = amongOthers(ctx, plan, max(int(tree.Scenario.Caller.Restores.Value), 1)-1, func() (err error) {
		seen, err = observe(ctx, plan, restore.Options{Timeout: trialTimeout, Alone: true}, prediction)
		return err
	})
	switch host, isHost := errors.AsType[*restore.HostError](err); {
	case isHost:
		t.Real = verdict{Outcome: lacks, Because: host.Error()}
	case fullTable(err):
		t.Real = verdict{Outcome: lacks, Because: withRemedy(err).Error()}
	case err != nil:
		t.Real = verdict{Outcome: tasktree.Breaks, Because: err.Error()}
	default:
		t.Real = judge(tree, seen.Tasks)
		t.Differ = prediction.Disagree(seen.Tasks)
	}
	return nil
}

// amongOthers calls then while n other trees of the plan exist, as caller.restores of a
// scenario asks for. These trees are not released, so no task is left if this regrow is
// killed.
func amongOthers(ctx context.Context, plan *restore.Plan, n int, then func() error) error {
	if n == 0 {
		return then()
	}
	return plan.Rehearse(ctx, restore.Options{Timeout: trialTimeout, Alone: true}, func(restore.View) error {
		return amongOthers(ctx, plan, n-1, then)
	})
}

// judge compares tables with the description.
func judge(tree *tasktree.Tree, outcomes []parts.Outcome) verdict {
	v := verdict{Outcome: tasktree.Holds}
	for i, task := range tree.Tasks() {
		if failed := outcomes[i].Failed; failed != nil {
			v.Outcome = tasktree.Breaks
		}
		if task.Sharer() {
			continue // its owner has the same table
		}
		want := map[int]parts.Held{}
		for _, d := range task.FDs {
			want[d.FD] = parts.Held{File: d.Open.EndName(d.End), Cloexec: d.Cloexec}
		}
		for _, n := range numbersOf(want, outcomes[i].Table) {
			w, described := want[n]
			got, there := outcomes[i].Table[n]
			if got != w || described != there {
				v.Outcome = tasktree.Breaks
				v.Lost = append(v.Lost, fmt.Sprintf("%s.%d", task.Name, n))
			}
		}
	}
	return v
}

func numbersOf(tables ...map[int]parts.Held) (numbers []int) {
	for _, t := range tables {
		for n := range t {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}
