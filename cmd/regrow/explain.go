package main

import (
	"fmt"
	"io"
)

// explain prints an error. One of a description starts each line with its place
// already.
func explain(w io.Writer, err error) {
	fmt.Fprintln(w, err)
}
