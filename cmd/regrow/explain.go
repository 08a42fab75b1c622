package main

import (
	"fmt"
	"io"
)

// explain prints an error. One of a description starts each line with its place
// already.
func explain(w io.Writer, err error) {
	_, _ = fmt.Fprintln(w, err)
}
