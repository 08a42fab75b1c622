//go:build cgo

package runner

import "golang.org/x/sys/unix"

// spaceForThreads reports that address space is no concern: the C library reserves
// up to 136 MiB of it for a thread, stack and arena, and a program that uses C ends
// if RLIMIT_AS has no room for that.
func spaceForThreads() bool {
	var limit unix.Rlimit
	return unix.Getrlimit(unix.RLIMIT_AS, &limit) == nil && limit.Cur == unix.RLIM_INFINITY
}
