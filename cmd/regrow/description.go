package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"regrow/images"
	"regrow/tasktree"
)

// treeArg checks that there is exactly one argument, TREE.yaml.
func treeArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes one TREE.yaml (- for standard input), not %d; see regrow %s --help",
			cmd.Name(), len(args), cmd.Name())
	}
	return nil
}

// description is a decoded description and where it came from.
type description struct {
	tree  *tasktree.Tree
	stdin bool         // it was read from descriptor 0, which the tree then cannot inherit
	once  bool         // it cannot be read again
	text  bytes.Buffer // its text, if it cannot be read again and load was asked to keep it
}

// load decodes a description. The path - means stdin. Any error, also one of reading,
// has status 2: nothing was started.
func load(path string, stdin io.Reader, keep bool) (*description, error) {
	in, err := images.Open(path)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	defer func() { _ = in.Close() }() // it was only read
	d := &description{stdin: in.Stdin, once: in.Once}
	var from io.Reader = in.File // Decode asks an *os.File for its size
	if path == "-" {
		from = stdin
	}
	if keep && d.once {
		from = io.TeeReader(from, &d.text)
	}
	if d.tree, err = images.Decode(from, in.Source, in.Dir); err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return d, nil
}

// warn prints the warnings about a description.
func warn(w io.Writer, tree *tasktree.Tree) {
	for _, p := range tree.Warnings() {
		_, _ = fmt.Fprintf(w, "%s: warning: %s\n", tasktree.At(tree.Source, p.Pos), tasktree.Problem{Path: p.Path, Msg: p.Msg})
	}
}
