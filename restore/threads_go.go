//go:build !cgo

package restore

// spareThreads is how many threads the runner may need at once while it waits for
// its tree: each wait in a system call takes one, and the garbage collector some.
const spareThreads = 6
