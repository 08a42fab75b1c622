package main

import (
	"fmt"
	"io"
	"time"
)

// noticePatience is how long notice waits for its line to be written. A terminal may
// block all output (Ctrl-S, a lost connection), and the reader of a pipe may not read.
const noticePatience = 250 * time.Millisecond

// notice prints one line of regrow's own. It returns when the line is written, or
// after [noticePatience]: the tree must not wait for a reader of regrow's output.
func notice(w io.Writer, format string, args ...any) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = fmt.Fprintf(w, "regrow: "+format+"\n", args...)
	}()
	select {
	case <-written:
	case <-time.After(noticePatience):
	}
}
