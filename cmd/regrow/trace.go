package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// traceGrace is how long writing a trace may go on after a signal.
const traceGrace = time.Second

// openTrace opens the file for a trace before the restore begins, so that errors are
// known in time. It returns nil for an empty path. A FIFO or a terminal may block
// forever: after the end of ctx and [traceGrace], writes to these fail.
func openTrace(ctx context.Context, path string) (*os.File, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no trace was asked for
	}
	// O_NONBLOCK: opening a FIFO must not wait for its reader, and writes can have
	// a deadline.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NONBLOCK|unix.O_NOCTTY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	context.AfterFunc(ctx, func() {
		_ = f.SetWriteDeadline(time.Now().Add(traceGrace)) // fails for a regular file, which needs no deadline
	})
	return f, nil
}
