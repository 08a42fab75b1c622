package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"regrow/images"
	"regrow/tasktree"
)

// treeArg demands exactly one TREE.yaml.
func treeArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes one TREE.yaml (- for standard input), not %d; see regrow %s --help",
			cmd.Name(), len(args), cmd.Name())
	}
	return nil
}

// load decodes a description. Whatever is wrong with it, or with reading it,
// ends in status 2: nothing was started.
func load(path string, stdin io.Reader) (*tasktree.Tree, error) {
	var tree *tasktree.Tree
	var err error
	if path == "-" {
		tree, err = images.Decode(stdin, "<stdin>", "")
	} else {
		tree, err = images.Load(path)
	}
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return tree, nil
}

// warn prints what Check found that is likely not meant.
func warn(w io.Writer, tree *tasktree.Tree) {
	for _, p := range tree.Warnings() {
		_, _ = fmt.Fprintf(w, "%s: warning: %s\n", tasktree.At(tree.Source, p.Pos), tasktree.Problem{Path: p.Path, Msg: p.Msg})
	}
}
