package proc

import (
	"time"

	"golang.org/x/sys/unix"
)

// Ended reports whether the process of a pidfd has ended, within a time.
func Ended(pidfd int, within time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(within.Milliseconds()))
	return err == nil && n == 1
}
