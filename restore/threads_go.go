//go:build !cgo

package restore

// spaceForThreads: the Go runtime takes the stack of a thread from its heap.
func spaceForThreads() bool { return true }
