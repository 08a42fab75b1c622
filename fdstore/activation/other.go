//go:build !linux

package activation

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

func initProcess() {}

func receive() ([]File, error) { return nil, errors.ErrUnsupported }

func duplicate(int) (int, error) { return -1, errors.ErrUnsupported }

func command(*exec.Cmd, []File) error { return errors.ErrUnsupported }

func become(string, []string, []string, []File) error { return errors.ErrUnsupported }

// Barrier is supported only on Linux.
func (m *Manager) Barrier(context.Context) error {
	return fmt.Errorf("activation: barrier: %w", errors.ErrUnsupported)
}

func (m *Manager) send(context.Context, string, []syscall.Conn) error { return errors.ErrUnsupported }
