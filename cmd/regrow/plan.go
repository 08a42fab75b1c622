package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"regrow/restore"
)

func newPlan() *cobra.Command {
	var asJSON bool
	p := planner{refusedIsNo: true}
	cmd := &cobra.Command{
		Use:   "plan TREE.yaml",
		Short: "Print every step of a restore, without running it",
		Long: `Print every step of a restore, task by task: the line of the description that it
comes from, and the changes of the descriptor table. It needs no privileges, and
opens and starts nothing.`,
		Example: "  regrow plan examples/swap.yaml",
		Args:    treeArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := p.plan(cmd, args[0])
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
		ValidArgsFunction: yamlFile,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of text")
	p.strategy.add(cmd)
	p.inherit.add(cmd)
	return cmd
}

// planner has the flags that affect a plan.
type planner struct {
	inherit     inheritFlag
	strategy    strategyFlags
	detach      bool
	silent      bool // no warnings
	refusedIsNo bool // a limit that is too low is exitNo instead of exitHost, for commands that start nothing
}

// plan loads and plans a description.
func (p *planner) plan(cmd *cobra.Command, path string) (*restore.Plan, error) {
	options, err := p.strategy.options(restore.PlanOptions{Inherit: p.inherit.fds, Detach: p.detach})
	if err != nil {
		return nil, err
	}
	warnings := cmd.ErrOrStderr()
	if p.silent {
		warnings = io.Discard
	}
	d, err := load(path, cmd.InOrStdin(), false)
	if err != nil {
		return nil, err
	}
	options.WithoutStdin = d.stdin
	if err := p.inherit.checkStdin(d); err != nil {
		return nil, err
	}
	tree, err := p.inherit.replace(d.tree)
	if err != nil {
		return nil, err
	}
	warn(warnings, tree)
	host, err := restore.ThisHost()
	if err != nil {
		if lacks := restore.CheckHost(tree, host); lacks != nil && !p.refusedIsNo {
			err = lacks
		}
		return nil, &exitError{exitHost, err}
	}
	plan, err := restore.NewPlan(tree, host, options)
	if err == nil {
		return plan, warnNaive(warnings, plan, options)
	}
	if _, refused := errors.AsType[*restore.RefusedError](err); refused && !p.refusedIsNo {
		// The host probably lacks more than this one limit: report all of it.
		if lacks := restore.CheckHost(tree, host); lacks != nil {
			err = lacks
		}
	}
	status := statusOf(err, p.detach)
	if status == exitHost && p.refusedIsNo {
		status = exitNo
	}
	return nil, &exitError{status, err}
}
