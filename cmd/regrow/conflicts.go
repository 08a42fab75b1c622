package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"regrow/restore"
	"regrow/restore/parts"
	"regrow/tasktree"
)

// conflictsFlags are the flags of regrow conflicts.
type conflictsFlags struct {
	json     bool
	run      bool
	check    bool
	shrink   bool
	asCaller int64 // see asCallerFlag; -1: the flag is not given
	strategy strategyFlags
	inherit  inheritFlag
}

func newConflicts() *cobra.Command {
	var f conflictsFlags
	cmd := &cobra.Command{
		Use:   "conflicts TREE.yaml",
		Short: "Predict which helper descriptors collide with restored ones, by strategy",
		Long: `Run the plan of each strategy on a model of descriptor tables. Print what the plan
needs (helper descriptors of a task, system calls, messages, files in flight,
RLIMIT_NOFILE) and each collision: the step, the task, the number, what was
there and what is lost. Needs no privileges and starts nothing.

--naive adds the naive forms, which place helpers without checking for
collisions. --run restores the tree up to the moment of release, compares every
descriptor with the prediction by kcmp, and ends the tree; no program runs. A
description may describe the process that restores it under "caller".

With --check the arguments are scenarios, or folders of scenarios: descriptions
with the expected outcome of each strategy under "expect". Each outcome is
predicted and tried. --shrink prints a minimal tree in which the chosen strategy
still has a conflict.

Exit status: 1 if the chosen strategy (--strategy, default fdstore, with --naive
its naive form) has a collision or cannot restore the tree, if prediction and
reality disagree, if a scenario has another outcome than expected, or if there is
nothing to shrink; 2 for an invalid description; 3 if --run lacks something;
128+N if signal N stopped it (TERM, HUP, INT, QUIT).`,
		Example: `  regrow conflicts examples/swap.yaml
  regrow conflicts --naive --run --strategy inherit examples/swap.yaml
  regrow conflicts --check test/scenarios
  regrow conflicts --shrink --naive large.yaml > small.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := excluded(cmd); err != nil {
				return err
			}
			if f.check && len(args) > 0 {
				return nil
			}
			return treeArg(cmd, args)
		},
		RunE: f.do,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if f.check {
				return yamlFiles(cmd, args, word)
			}
			return yamlFile(cmd, args, word)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.json, "json", false, "print one JSON object instead of the table")
	flags.BoolVar(&f.run, "run", false, "also restore the tree, and compare each descriptor with the prediction")
	flags.BoolVar(&f.check, "check", false, "try scenarios, or folders of scenarios, and compare each strategy with its expected outcome")
	flags.BoolVar(&f.shrink, "shrink", false, "print a minimal tree that still has a conflict with the chosen strategy")
	flags.Int64Var(&f.asCaller, asCallerFlag, -1, "")
	_ = flags.MarkHidden(asCallerFlag)
	f.strategy.add(cmd)
	f.inherit.add(cmd)
	for _, x := range exclusions { // for completion in the shell, which then offers only one of them
		cmd.MarkFlagsMutuallyExclusive(x.flag, x.other)
	}
	return cmd
}

// exclusion is a flag that has no meaning together with another one, and why.
type exclusion struct{ flag, other, because string }

const (
	triesAll   = "a scenario is tried with every strategy, in both forms"
	saysCaller = "a scenario describes its caller itself"
)

var exclusions = []exclusion{
	{"check", "shrink", "--check tries a tree, --shrink makes a smaller one"},
	{"check", "run", "--check restores already"},
	{"shrink", "run", "--shrink starts nothing"},
	{"check", "strategy", triesAll},
	{"check", "naive", triesAll},
	{"check", "service-fd", saysCaller},
	{"check", "inherit-fd", saysCaller},
	{"shrink", "json", "--shrink prints a description"},
}

// excluded refuses flags that exclude each other. It runs before cobra's own check,
// whose message does not give the reason.
func excluded(cmd *cobra.Command) error {
	for _, x := range exclusions {
		if cmd.Flags().Changed(x.flag) && cmd.Flags().Changed(x.other) {
			return fmt.Errorf("--%s and --%s exclude each other: %s", x.flag, x.other, x.because)
		}
	}
	return nil
}

// do runs the variant of the command that the flags select.
func (f *conflictsFlags) do(cmd *cobra.Command, args []string) error {
	if f.asCaller > 0 {
		return &exitError{exitNo, becomeCaller(f.asCaller)}
	}
	switch {
	case f.check:
		return untilSignal(cmd, func() error { return f.checkScenarios(cmd, args) })
	case f.run:
		return untilSignal(cmd, func() error { return f.conflicts(cmd, args[0]) })
	case f.shrink:
		return f.shrinkTree(cmd, args[0])
	default:
		return f.conflicts(cmd, args[0])
	}
}

// untilSignal runs do with a context that ends when a signal asks regrow to stop. A
// restore then ends, and the files that it has made are removed.
func untilSignal(cmd *cobra.Command, do func() error) error {
	signals := catch()
	defer signals.stop()
	ctx, done := signals.untilRelease(cmd.Context())
	defer done()
	cmd.SetContext(ctx)
	err := do()
	if got, ok := errors.AsType[*signalError](err); ok {
		return &exitError{128 + int(got.sig), err}
	}
	return err
}

// conflictsResult is the output of regrow conflicts --json.
type conflictsResult struct {
	Version  int              `json:"version"` // 1
	Source   string           `json:"source"`
	Replaced []parts.Replaced `json:"replaced,omitempty"` // by descriptors of the caller's
	Forms    []*formResult    `json:"forms"`
}

// formResult is the outcome of one strategy in one form.
type formResult struct {
	Strategy restore.Strategy `json:"strategy"`
	Naive    bool             `json:"naive"`
	Chosen   bool             `json:"chosen"`            // its collisions decide the exit status
	Refused  string           `json:"refused,omitempty"` // why this form cannot restore the tree at all

	Prediction *restore.Prediction `json:"prediction,omitempty"`
	Reality    *observation        `json:"reality,omitempty"`  // with --run
	Disagree   []string            `json:"disagree,omitempty"` // where both differ
}

// broken reports whether the form does not restore the tree as described.
func (f *formResult) broken() bool {
	return f.Refused != "" || len(f.Disagree) > 0 || f.Prediction != nil && !f.Prediction.Held()
}

func (f *conflictsFlags) conflicts(cmd *cobra.Command, path string) error {
	if err := f.inherit.checkOpen(); f.run && err != nil {
		return err
	}
	if _, err := f.strategy.options(restore.PlanOptions{}); err != nil {
		return err
	}
	d, done, err := f.load(cmd, path)
	if done || err != nil {
		return err
	}
	tree, base, err := f.asPlanned(cmd, d)
	if err != nil {
		return err
	}
	warn(cmd.ErrOrStderr(), tree)
	host, err := restore.ThisHost()
	if err != nil {
		return &exitError{exitHost, err}
	}
	l := &conflictsResult{Version: 1, Source: tree.Source, Replaced: parts.Replacements(tree)}
	failed := false
	for _, form := range f.forms() {
		o := base
		o.Strategy, o.Naive = form.Strategy, form.Naive
		if err := f.form(cmd.Context(), tree, host, o, form); err != nil {
			return err
		}
		l.Forms = append(l.Forms, form)
		failed = failed || len(form.Disagree) > 0 || form.Chosen && form.broken()
	}
	if f.json {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(l)
	} else {
		err = l.write(cmd.OutOrStdout(), f.run)
	}
	if err != nil {
		return &exitError{exitNo, fmt.Errorf("conflicts: %w", err)}
	}
	if failed {
		return &exitError{exitNo, nil}
	}
	return nil
}

// forms lists the forms to run: every strategy or the given one, and with --naive the
// naive form of each after it.
func (f *conflictsFlags) forms() []*formResult {
	var forms []*formResult
	for _, s := range restore.Strategies() {
		if f.strategy.strategy.given && s != f.strategy.strategy.Strategy {
			continue
		}
		chosen := s == f.strategy.strategy.Strategy
		forms = append(forms, &formResult{Strategy: s, Chosen: chosen && !f.strategy.naive})
		if f.strategy.naive {
			forms = append(forms, &formResult{Strategy: s, Naive: true, Chosen: chosen})
		}
	}
	return forms
}

// form predicts the outcome of one form, and with --run also restores the tree.
func (f *conflictsFlags) form(ctx context.Context, tree *tasktree.Tree, host restore.Host, o restore.PlanOptions, form *formResult) error {
	plan, err := restore.NewPlan(tree, host, o)
	if refused, ok := errors.AsType[*restore.RefusedError](err); ok {
		form.Refused = refused.Error()
		return nil
	}
	if err != nil {
		return &exitError{statusOf(err, true), err}
	}
	if form.Prediction, err = plan.Predict(); err != nil {
		return &exitError{exitNo, err}
	}
	if !f.run {
		return nil
	}
	const patience = time.Minute
	form.Reality, err = observe(ctx, plan, restore.Options{Timeout: patience}, form.Prediction)
	if err != nil {
		return &exitError{statusOf(err, true), err}
	}
	form.Disagree = form.Prediction.Disagree(form.Reality.Tasks)
	return nil
}

// name returns the form's name in the table.
func (f *formResult) name() string {
	name := f.Strategy.String()
	if f.Naive {
		name += ", naive"
	}
	return name
}

// write prints the table, and below it each collision.
func (l *conflictsResult) write(w io.Writer, ran bool) error {
	var text strings.Builder
	for _, r := range l.Replaced {
		_, _ = fmt.Fprintln(&text, r)
	}
	tw := tabwriter.NewWriter(&text, 0, 8, 2, ' ', tabwriter.AlignRight)
	last := ""
	if ran {
		last = "really\t"
	}
	_, _ = fmt.Fprintf(tw, "strategy\thelpers\tcalls\tmessages\tin flight\tRLIMIT_NOFILE\tcollisions\tresult\t%s\n", last)
	for _, f := range l.Forms {
		p := f.Prediction
		if p == nil {
			_, _ = fmt.Fprintf(tw, "%s\t-\t-\t-\t-\t-\t-\trefused\t\n", f.name())
			continue
		}
		result, really := tasktree.Holds, ""
		if !p.Held() {
			result = tasktree.Breaks
		}
		if ran {
			really = map[bool]string{true: "as predicted\t", false: "not as predicted\t"}[len(f.Disagree) == 0]
		}
		_, _ = fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", f.name(), p.Helpers, p.Calls, p.Messages, p.InFlight, p.NoFile, len(p.Collisions), result, really)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, f := range l.Forms {
		f.details(&text)
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// details prints the collisions and failures of one form.
func (f *formResult) details(w io.Writer) {
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	if !f.broken() {
		return
	}
	line("\n%s:", f.name())
	if f.Refused != "" {
		line("  %s", f.Refused)
		return
	}
	for _, c := range f.Prediction.Collisions {
		line("  %s", c)
	}
	for _, t := range f.Prediction.Tasks {
		if t.Failed != nil {
			line("  line %s: task %q: fails: %s", lineText(t.Failed.Line), t.Name, t.Failed.What)
		}
	}
	for _, d := range f.Disagree {
		line("  prediction and reality disagree: %s", d)
	}
}

func lineText(line int) string {
	if line == 0 {
		return "-"
	}
	return strconv.Itoa(line)
}
