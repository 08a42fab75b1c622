package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"regrow/restore"
)

func newPlan() *cobra.Command {
	var asJSON bool
	var inherit inheritFlag
	var strategy strategyFlags
	cmd := &cobra.Command{
		Use:   "plan TREE.yaml",
		Short: "Print every step that restore would take, and touch nothing",
		Long: `Print, for each task, every step that restore would take, with the line of the
description that asks for it, and the table of descriptors as it changes.
Needs no privileges; opens and starts nothing.`,
		Example: "  regrow plan examples/swap.yaml",
		Args:    treeArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := planOf(cmd, args[0], inherit, strategy, true, false)
			if err != nil {
				return err
			}
			if asJSON {
				err = plan.WriteJSON(cmd.OutOrStdout())
			} else {
				err = plan.WriteText(cmd.OutOrStdout())
			}
			if err != nil {
				return &exitError{exitNo, fmt.Errorf("plan: %w", err)}
			}
			return nil
		},
		ValidArgsFunction: yamlFiles,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of the picture")
	strategy.add(cmd)
	inherit.add(cmd)
	return cmd
}

// planOf loads and plans a description. refusedIsNo is for commands that start
// nothing: a limit that refuses the tree is then the answer no.
func planOf(cmd *cobra.Command, path string, inherit inheritFlag, strategy strategyFlags, refusedIsNo, detach bool) (*restore.Plan, error) {
	options, err := strategy.options(restore.PlanOptions{Inherit: inherit.fds, WithoutStdin: path == "-", Detach: detach})
	if err != nil {
		return nil, err
	}
	tree, err := load(path, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	warn(cmd.ErrOrStderr(), tree)
	host, err := restore.ThisHost()
	if err != nil {
		if lacks := restore.CheckHost(tree, host); lacks != nil && !refusedIsNo {
			err = lacks
		}
		return nil, &exitError{exitHost, err}
	}
	plan, err := restore.NewPlan(tree, host, options)
	if err == nil {
		return plan, warnNaive(cmd.ErrOrStderr(), plan, options)
	}
	if _, refused := errors.AsType[*restore.RefusedError](err); refused && !refusedIsNo {
		// One number too many is seldom all that the host lacks.
		if lacks := restore.CheckHost(tree, host); lacks != nil {
			err = lacks
		}
	}
	return nil, &exitError{statusOf(err, refusedIsNo || detach), err}
}
