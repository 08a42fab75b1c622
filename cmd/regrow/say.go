package main

import (
	"fmt"
	"io"
	"time"
)

// sayPatience is how long regrow waits for a line that it says on the way. A
// terminal may take nothing (Ctrl-S, a lost connection) and a pipe may have no
// reader for as long as they like.
const sayPatience = 250 * time.Millisecond

// say writes one line of regrow's own. It returns when the line is written, or
// after [sayPatience]: nobody else may wait for who reads it.
func say(w io.Writer, format string, args ...any) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = fmt.Fprintf(w, "regrow: "+format+"\n", args...)
	}()
	select {
	case <-written:
	case <-time.After(sayPatience):
	}
}
