//go:build cgo

package restore

// spareThreads is 0: the C library reserves up to 136 MiB of address space for a
// thread, stack and arena, and ends the process if RLIMIT_AS has no room for it.
const spareThreads = 0
