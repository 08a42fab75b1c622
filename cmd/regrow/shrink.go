package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"regrow/images"
	"regrow/restore"
	"regrow/restore/parts"
	"regrow/tasktree"
	"regrow/tasktree/shrink"
)

// symptom is the outcome of a tree with one strategy: the tree is refused, or something
// goes wrong. The zero value means that the tree is restored as described.
type symptom struct {
	refused bool
	was     string // the descriptor that the first collision destroys: a helper, or one of the tree's
	message string
}

func (s symptom) conflict() bool { return s.message != "" }

// like reports whether both are the same kind of conflict: a tree must keep its kind
// of conflict while it shrinks.
func (s symptom) like(o symptom) bool {
	return s.conflict() && o.conflict() && s.refused == o.refused && s.was == o.was
}

// symptomOf runs the tree on the model. Descriptors of the caller's that a smaller tree
// has no file for are ignored. The error is never about a conflict of the tree.
func symptomOf(tree *tasktree.Tree, host restore.Host, o restore.PlanOptions) (symptom, error) {
	o.Inherit = known(tree, o.Inherit)
	plan, err := restore.NewPlan(tree, host, o)
	if refused, ok := errors.AsType[*restore.RefusedError](err); ok {
		return symptom{refused: true, message: refused.Error()}, nil
	}
	if err != nil {
		return symptom{}, err
	}
	p, err := plan.Predict()
	if err != nil || p.Held() {
		return symptom{}, err
	}
	if len(p.Collisions) > 0 {
		c := p.Collisions[0]
		was := "a descriptor of the tree"
		if strings.HasPrefix(c.Was, "[") {
			was = c.Was
		}
		return symptom{was: was, message: c.String()}, nil
	}
	for _, t := range p.Tasks {
		if t.Failed != nil {
			return symptom{was: t.Failed.What, message: fmt.Sprintf("task %q: %s", t.Name, t.Failed.What)}, nil
		}
	}
	return symptom{was: "the end", message: "some descriptors differ from the description"}, nil
}

// known returns those of the caller's descriptors whose keys the tree has.
func known(tree *tasktree.Tree, given map[string]int) map[string]int {
	all := map[string]int{}
	for key, fd := range given {
		if tree.Takes(key) {
			all[key] = fd
		}
	}
	return all
}

// shrinkTree is regrow conflicts --shrink.
func (f *conflictsFlags) shrinkTree(cmd *cobra.Command, path string) error {
	d, done, err := f.load(cmd, path)
	if done || err != nil {
		return err
	}
	tree := d.tree
	host, err := restore.ThisHost()
	if err != nil {
		return &exitError{exitHost, err}
	}
	_, o, err := f.asPlanned(cmd, d) // the description itself is what shrinks
	if err != nil {
		return err
	}
	first, err := symptomOf(tree, host, o)
	if err != nil {
		return &exitError{statusOf(err, true), err}
	}
	strategy := tasktree.StrategyName(o.Strategy.String(), o.Naive)
	if !first.conflict() {
		return &exitError{exitNo, fmt.Errorf("%s: no conflict with the strategy %s: nothing to shrink", tree.Source, strategy)}
	}
	small := shrink.Tree(tree, func(t *tasktree.Tree) bool {
		s, err := symptomOf(t, host, o)
		return err == nil && s.like(first)
	})
	last, err := symptomOf(small, host, o)
	if err != nil {
		return &exitError{exitNo, err}
	}
	replaced, err := small.Replace(known(small, o.Inherit))
	if err != nil {
		return &exitError{exitNo, err}
	}
	for _, r := range parts.Replacements(replaced) {
		strategy += fmt.Sprintf("; %s", r)
	}
	if err := writeShrunk(cmd.OutOrStdout(), tree, small, strategy, last); err != nil {
		return &exitError{exitNo, fmt.Errorf("conflicts: %w", err)}
	}
	return nil
}

// writeShrunk prints a small tree. Comments at its start name the conflict and the
// tree that it comes from.
func writeShrunk(w io.Writer, tree, small *tasktree.Tree, strategy string, s symptom) error {
	_, err := fmt.Fprintf(w, "# %s\n# Strategy %s. %s: %s; here: %s.\n",
		s.message, strategy, tree.Source, sizeOf(tree), sizeOf(small))
	if err != nil {
		return err
	}
	shown := *small
	if small.Scenario != nil { // the expected outcomes were those of the large tree
		shown.Scenario = &tasktree.Scenario{Caller: small.Scenario.Caller}
		shown.Scenario.Caller.InheritFD = slices.DeleteFunc(slices.Clone(small.Scenario.Caller.InheritFD),
			func(fd tasktree.CallerFD) bool { return !small.Takes(fd.Key.Value) })
	}
	return images.Encode(w, &shown)
}

func sizeOf(t *tasktree.Tree) string {
	fds := 0
	for _, task := range t.Tasks() {
		fds += len(task.FDs)
	}
	used := slices.DeleteFunc(slices.Clone(t.Files), func(f *tasktree.OpenFile) bool { return !f.Needed })
	return fmt.Sprintf("tasks %d, descriptors %d, files %d", len(t.Tasks()), fds, len(used))
}
