package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// traceGrace is how long a reader may still take a trace after a signal.
const traceGrace = time.Second

// openTrace opens the file for a trace, before the restore begins: what is wrong
// with it is known in time. nil is for no path. Whoever reads a FIFO or a terminal
// may never do so: soon after the end of ctx writes to these fail.
func openTrace(ctx context.Context, path string) (*os.File, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no trace was asked for
	}
	// O_NONBLOCK: opening a FIFO must not wait for its reader, and writes can be
	// given a deadline.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NONBLOCK|unix.O_NOCTTY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	context.AfterFunc(ctx, func() {
		_ = f.SetWriteDeadline(time.Now().Add(traceGrace)) // a regular file has none, and needs none
	})
	return f, nil
}
