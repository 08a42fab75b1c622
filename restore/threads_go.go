//go:build !cgo

package restore

// roomForThreads: the Go runtime takes the stack of a thread from its heap.
func roomForThreads() bool { return true }
