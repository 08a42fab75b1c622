package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check TREE.yaml...",
		Short: "Decode and validate descriptions, start nothing",
		Long: `Decode and validate descriptions. Every problem of every file goes to standard
error as FILE:LINE:COL: ..., sorted, with the line that it is about. Warnings
(an open file that no task uses) do not change the exit status.

Exit status: 0 if all are valid, 2 if not.`,
		Example: "  regrow check examples/*.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("check takes at least one TREE.yaml (- for standard input); see regrow check --help")
			}
			bad := 0
			for _, path := range args {
				tree, err := load(path, cmd.InOrStdin())
				if err != nil {
					explain(cmd.ErrOrStderr(), err)
					bad++
					continue
				}
				warn(cmd.ErrOrStderr(), tree)
			}
			if bad > 0 {
				return &exitError{exitUsage, nil}
			}
			return nil
		},
		ValidArgsFunction: yamlFiles,
	}
}

// yamlFiles lets the shell complete descriptions.
func yamlFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
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
