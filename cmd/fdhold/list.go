package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the content of the store",
		Long: `ls prints a line for each message of the store: its number, how many files it
carries, and its name, or - if it has none.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := list(cmd.OutOrStdout()); err != nil {
				return &exitError{exitNo, fmt.Errorf("ls: %w", err)}
			}
			return nil
		},
	}
}

func list(w io.Writer) error {
	s, err := inherited()
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // the process ends
	for e, err := range s.All() {
		if err != nil {
			return err
		}
		name := e.Name
		if name == "" {
			name = "-"
		}
		if _, err := fmt.Fprintf(w, "%d\t%d\t%s\n", e.ID, e.Files, name); err != nil {
			return err
		}
	}
	return nil
}
