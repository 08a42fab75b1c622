package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWithoutPIDFDs restores where a sandbox refuses pidfds: signals must reach the root,
// and the end of the root must end all tasks.
func TestWithoutPIDFDs(t *testing.T) {
	for name, shell := range map[string]string{
		"pidfd_open":        refuses(t, unix.SYS_PIDFD_OPEN, -1, unix.EPERM),
		"pidfd_send_signal": refuses(t, unix.SYS_PIDFD_SEND_SIGNAL, -1, unix.ENOSYS),
		"waitid":            refuses(t, unix.SYS_WAITID, unix.P_PIDFD, unix.EINVAL),
	} {
		t.Run(name, func(t *testing.T) {
			pidfile := filepath.Join(t.TempDir(), "pid")
			r := start(t, shell, "restore", "--pidfile", pidfile, write(t, trapping))
			root := 0
			within(t, "the pid file", func() bool {
				text, err := os.ReadFile(pidfile)
				_, scanErr := fmt.Sscan(string(text), &root)
				return err == nil && scanErr == nil
			})
			within(t, "the root's traps", func() bool { return strings.Contains(r.output(), "ready") })
			r.signal(t, unix.SIGUSR1)
			within(t, "USR1", func() bool { return strings.Contains(r.output(), "got USR1") })
			if err := unix.Kill(root, unix.SIGKILL); err != nil {
				t.Error(err)
			}
			if res := wait(t, r); res.status != 137 {
				t.Errorf("status %d, want 137: %s", res.status, res.errors)
			}
			noDescendants(t)
		})
	}
}
