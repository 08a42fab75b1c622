package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"regrow/images"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a description, for editors",
		Long: `Print the JSON Schema (draft 2020-12) of a description. With it an editor
completes keys, shows their meaning and marks mistakes. It allows more than
check does: it does not know which names exist.`,
		Example: `  regrow schema > tree.schema.json
    then, as the first line of a description, for the YAML language server:
    # yaml-language-server: $schema=tree.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := cmd.OutOrStdout().Write(images.JSONSchema()); err != nil {
				return &exitError{exitNo, fmt.Errorf("schema: %w", err)}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
}
