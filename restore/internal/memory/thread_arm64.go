package memory

// threadPointer gives the address of the calling thread's local memory, 0 if it
// has none. No system call tells it here, only a register.
func threadPointer() uint64
