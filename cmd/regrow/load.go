package main

import (
	"bytes"
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

// description is one that was decoded.
type description struct {
	tree  *tasktree.Tree
	stdin bool         // it came from descriptor 0, which cannot be handed down
	once  bool         // it cannot be read again
	text  bytes.Buffer // then: what was read, if load was to keep that
}

// load decodes a description. stdin is what - means. Whatever is wrong with it, or
// with reading it, ends in status 2: nothing was started.
func load(path string, stdin io.Reader, keep bool) (*description, error) {
	in, err := images.Open(path)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	defer func() { _ = in.Close() }() // it was only read
	d := &description{stdin: in.Stdin, once: in.Once}
	var from io.Reader = in.File // by its type Decode knows how long it is
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

// warn prints what Check found that is likely not meant.
func warn(w io.Writer, tree *tasktree.Tree) {
	for _, p := range tree.Warnings() {
		_, _ = fmt.Fprintf(w, "%s: warning: %s\n", tasktree.At(tree.Source, p.Pos), tasktree.Problem{Path: p.Path, Msg: p.Msg})
	}
}
