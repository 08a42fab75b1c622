package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"regrow/tasktree"
)

// newHelp replaces cobra's help command, which for an unknown command shows the help
// of another one, with status 0.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			switch {
			case err != nil:
				return err
			case len(rest) > 0:
				return noSuchCommand(about, rest)
			}
			about.InitDefaultHelpFlag() // cobra adds it only to the command that it runs
			return about.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if about, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, c := range about.Commands() {
					if c.IsAvailableCommand() {
						names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// addCompletion adds cobra's completion command, and makes it refuse an unknown shell.
// The root command must have its output already.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Use = "completion SHELL"
		cmd.Args = noSuchCommand
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

// noSuchCommand refuses an unknown command or shell, and suggests the one that was
// probably meant.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	what, known := "command", ""
	if cmd.Name() == "completion" {
		what, known = "shell", "; expected one of "+strings.Join(names, ", ")
	}
	return fmt.Errorf("unknown %s %q%s%s; see %s --help", what, args[0], tasktree.DidYouMean(args[0], names), known, cmd.CommandPath())
}

// output remembers the first failed write. Not all code that prints returns the error,
// and a command whose output is lost must fail.
type output struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}
