package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"regrow/images"
	"regrow/tasktree"
)

// gallery is the output of regrow conflicts --check --json.
type gallery struct {
	Version   int              `json:"version"` // 1
	Scenarios []scenarioResult `json:"scenarios"`
}

// scenarioResult is one scenario with all strategies.
type scenarioResult struct {
	File   string  `json:"file"`
	Trials []trial `json:"trials"`
}

func (r *scenarioResult) name() string {
	return strings.TrimSuffix(strings.TrimSuffix(filepath.Base(r.File), ".yaml"), ".yml")
}

// scenarioFiles lists the given files, and all descriptions in the given folders.
func scenarioFiles(paths []string) (files []string, err error) {
	for _, path := range paths {
		if images.ReadOnce(path) {
			return nil, fmt.Errorf("conflicts --check takes files and folders, not standard input (-) or another file that can be read only once (%s), because a second process reads each scenario again", path)
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		before := len(files)
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); ext == ".yaml" || ext == ".yml" {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
		if len(files) == before {
			return nil, fmt.Errorf("%s: no description (*.yaml) in this folder", path)
		}
	}
	return files, nil
}

// loadScenarios decodes all scenarios, before the first is tried.
func loadScenarios(paths []string, stderr io.Writer) (trees []*tasktree.Tree, err error) {
	files, err := scenarioFiles(paths)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("regrow: %w", err)}
	}
	bad := 0
	for _, file := range files {
		tree, err := images.Load(file)
		if err == nil {
			err = expectsAll(tree)
		}
		if err == nil {
			_, err = replaceForCaller(tree)
		}
		if err != nil {
			printError(stderr, err)
			bad++
			continue
		}
		trees = append(trees, tree)
	}
	if bad > 0 {
		return nil, &exitError{exitUsage, nil}
	}
	return trees, nil
}

// expectsAll checks that a scenario has an expectation for each strategy in both forms.
func expectsAll(tree *tasktree.Tree) error {
	s := tree.Scenario
	if s == nil || len(s.Expect) == 0 {
		return fmt.Errorf("%s: no strategy has an expectation; add expect", tree.Source)
	}
	if unsaid := s.Unsaid(); len(unsaid) > 0 {
		return fmt.Errorf("%s: expect: no expectation for %s", tasktree.At(tree.Source, s.Expect[0].Pos), strings.Join(unsaid, ", "))
	}
	return nil
}

// tryAll tries scenarios, each in a process of its own that is the scenario's caller.
func (g *gallery) tryAll(ctx context.Context, trees []*tasktree.Tree) error {
	for _, tree := range trees {
		one, err := tryAsCaller(ctx, tree)
		if err != nil {
			return fmt.Errorf("conflicts: %s: %w", tree.Source, err)
		}
		g.Scenarios = append(g.Scenarios, one.Scenarios...)
	}
	return nil
}

// tryAsCaller runs this command in a process that is the scenario's caller. Its output
// goes to files: if a task were left, it would keep a pipe open.
func tryAsCaller(ctx context.Context, tree *tasktree.Tree) (*gallery, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*trialTimeout)
	defer cancel()
	var standard [3]*os.File
	for i := range standard {
		f, err := os.CreateTemp("", "regrow-conflicts-*")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if err := os.Remove(f.Name()); err != nil {
			return nil, err
		}
		standard[i] = f
	}
	status, err := runAsCaller(ctx, tree.Scenario, standard, "conflicts", "--check", "--json", tree.Source)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.NewSectionReader(standard[1], 0, 1<<30))
	if err != nil {
		return nil, err
	}
	g := &gallery{}
	if json.Unmarshal(out, g) == nil && len(g.Scenarios) == 1 {
		return g, nil
	}
	messages, err := io.ReadAll(io.NewSectionReader(standard[2], 0, 1<<20))
	if err != nil {
		return nil, err
	}
	because := strings.TrimSpace(string(messages))
	if status == exitHost {
		g.Scenarios = []scenarioResult{{tree.Source, lacking(tree.Scenario, because)}}
		return g, nil
	}
	return nil, fmt.Errorf("status %d: %s", status, because)
}

// lacking returns the trials of a scenario whose caller could not begin.
func lacking(s *tasktree.Scenario, because string) (all []trial) {
	nothing := verdict{Outcome: lacks, Because: because}
	for _, e := range s.Expect {
		all = append(all, trial{Strategy: e.Strategy, Naive: e.Naive, Expected: e.Outcome.Value, Predicted: nothing, Real: nothing})
	}
	return all
}

// checkScenarios is regrow conflicts --check.
func (f *conflictsFlags) checkScenarios(cmd *cobra.Command, paths []string) error {
	trees, err := loadScenarios(paths, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	g := &gallery{Version: 1}
	if f.asCaller >= 0 {
		for _, tree := range trees {
			trials, err := tryScenario(ctx, tree)
			if err != nil {
				return &exitError{exitNo, err}
			}
			g.Scenarios = append(g.Scenarios, scenarioResult{tree.Source, trials})
		}
	} else if err := g.tryAll(ctx, trees); err != nil {
		return &exitError{exitNo, err}
	}
	if f.json {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(g)
	} else {
		err = g.write(cmd.OutOrStdout())
	}
	if err != nil {
		return &exitError{exitNo, fmt.Errorf("conflicts: %w", err)}
	}
	return g.status()
}

// write prints the table, and below it the outcomes that are not as expected.
func (g *gallery) write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := []string{"scenario"}
	for _, naive := range []bool{false, true} {
		for _, s := range tasktree.Strategies {
			row = append(row, tasktree.StrategyName(s, naive))
		}
	}
	columns := slices.Clone(row[1:])
	for i := range g.Scenarios {
		_, _ = fmt.Fprintln(table, strings.Join(row, "\t"))
		s := &g.Scenarios[i]
		row = []string{s.name()}
		for _, column := range columns {
			row = append(row, s.cell(column))
		}
	}
	_, _ = fmt.Fprintln(table, strings.Join(row, "\t"))
	if err := table.Flush(); err != nil {
		return err
	}
	trials, odd := 0, 0
	var b strings.Builder
	for i := range g.Scenarios {
		for j := range g.Scenarios[i].Trials {
			t := &g.Scenarios[i].Trials[j]
			trials++
			all := t.unexpected()
			if t.Real.Outcome == lacks {
				all = append(all, tasktree.StrategyName(t.Strategy, t.Naive)+": "+t.Real.Because)
			}
			if len(all) > 0 {
				odd++
			}
			for _, s := range all {
				fmt.Fprintf(&b, "%s: %s\n", g.Scenarios[i].File, s)
			}
		}
	}
	scenarios := "1 scenario"
	if n := len(g.Scenarios); n != 1 {
		scenarios = fmt.Sprintf("%d scenarios", n)
	}
	_, err := fmt.Fprintf(w, "\n%s, %d restores predicted and tried: %d as expected\n%s", scenarios, trials, trials-odd, b.String())
	return err
}

// cell returns the real outcome with the number of lost descriptors, and a mark if it
// is not as expected.
func (r *scenarioResult) cell(column string) string {
	for i := range r.Trials {
		t := &r.Trials[i]
		if tasktree.StrategyName(t.Strategy, t.Naive) != column {
			continue
		}
		text := t.Real.Outcome
		if n := len(t.Real.Lost); n > 0 {
			text += fmt.Sprintf(" %d", n)
		}
		if len(t.unexpected()) > 0 {
			text += " !"
		}
		return text
	}
	return "-"
}

// status returns an error with status 1 if an outcome is not as expected, else with 3
// if this host lacked something for a trial.
func (g *gallery) status() error {
	lacking := error(nil)
	for i := range g.Scenarios {
		for j := range g.Scenarios[i].Trials {
			t := &g.Scenarios[i].Trials[j]
			if len(t.unexpected()) > 0 {
				return &exitError{exitNo, nil}
			}
			if t.Real.Outcome == lacks {
				lacking = errors.New(t.Real.Because)
			}
		}
	}
	if lacking != nil {
		return &exitError{exitHost, lacking}
	}
	return nil
}
