//go:build !cgo

package runner

// spaceForThreads: the Go runtime takes the stack of a thread from its heap.
func spaceForThreads() bool { return true }
