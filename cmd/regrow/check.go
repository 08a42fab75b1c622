package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"regrow/restore"
	"regrow/restore/parts"
	"regrow/tasktree"
)

func newCheck() *cobra.Command {
	var host bool
	cmd := &cobra.Command{
		Use:   "check TREE.yaml...",
		Short: "Decode and validate descriptions, start nothing",
		Long: `Decode and validate descriptions. Print every problem of every file to standard
error as FILE:LINE:COL: ..., sorted, with the line of the description. Warnings
(an open file that no task uses, a program without descriptor 0, 1 or 2) do not
change the exit status.

With --host also print what the kernel, the privileges and the limits lack to
restore a valid description, and which files, folders and programs are missing or
refused, each with the line that needs it and a remedy. Pids in use are not
checked.

Exit status: 0 if all descriptions are valid, 2 if one is not, 3 if all are valid
and this host lacks something.`,
		Example: `  regrow check examples/*.yaml
  regrow check --host tree.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("check takes at least one TREE.yaml (- for standard input); see regrow check --help")
			}
			bad, lacking := 0, 0
			for _, path := range args {
				d, err := load(path, cmd.InOrStdin(), false)
				if err == nil {
					_, err = replaceForCaller(d.tree)
				}
				if err != nil {
					printError(cmd.ErrOrStderr(), err)
					bad++
					continue
				}
				tree := d.tree
				warn(cmd.ErrOrStderr(), tree)
				if !host {
					continue
				}
				if err := checkHost(tree); err != nil {
					printError(cmd.ErrOrStderr(), err)
					lacking++
				}
			}
			switch {
			case bad > 0:
				return &exitError{exitUsage, nil}
			case lacking > 0:
				return &exitError{exitHost, nil}
			}
			return nil
		},
		ValidArgsFunction: yamlFiles,
	}
	cmd.Flags().BoolVar(&host, "host", false, "also print what this kernel and these privileges lack to restore the tree")
	return cmd
}

// checkHost checks that this host can restore a tree, and has every path, folder and
// program that the tree names. It assumes that the caller will pass every descriptor
// that the tree inherits.
func checkHost(tree *tasktree.Tree) error {
	host, err := restore.ThisHost()
	lacks := restore.CheckHost(tree, host)
	if lacks == nil && err != nil {
		return err
	}
	keys := map[string]int{}
	for _, f := range tree.Files {
		if key := tasktree.CallerKey(f.Spec); key != "" && tree.Takes(key) {
			keys[key] = 0
		}
	}
	plan, err := restore.NewPlan(tree, host, restore.PlanOptions{Inherit: keys})
	if err == nil {
		return parts.JoinLacks(lacks, plan.CheckPaths())
	}
	if lacks == nil {
		return err
	}
	// There is no plan because a descriptor is beyond the limit. Check the paths as
	// if there were no limit, so that all problems are reported at once.
	host.HardFiles = tasktree.MaxFD + 1
	if plan, err = restore.NewPlan(tree, host, restore.PlanOptions{Inherit: keys}); err != nil {
		return lacks
	}
	return parts.JoinLacks(lacks, plan.CheckPaths())
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
}
