//go:build !amd64

package postfork

// ThreadPointer gives the address of the calling thread's local memory, or 0
// where it cannot be asked for: then everything writable is kept.
func ThreadPointer() uint64 { return 0 }
