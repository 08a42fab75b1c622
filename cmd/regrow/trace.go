package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// openTrace opens the file for a trace, before the restore begins: what is wrong
// with it is known in time. nil is for no path.
func openTrace(path string) (io.WriteCloser, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no trace was asked for
	}
	// O_NONBLOCK: opening a FIFO must not wait for its reader; writing to it may.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NONBLOCK|unix.O_NOCTTY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("trace: %w", os.NewSyscallError("fcntl", err))
	}
	return f, nil
}
