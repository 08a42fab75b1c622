// Package postfork runs programs in forked tasks.
//
// A task is a raw clone of a Go process. In it there is no runtime: no
// scheduler, no allocator, no garbage collector, no other thread, and after
// OpShed no heap and no stack but the task's private page. So a task does not
// run ordinary Go; it runs the interpreter of this package, which walks a flat
// list of ops.
//
// What code that runs in a task must never do:
//
//   - call anything but this package's own nosplit functions and
//     syscall.RawSyscall6 (package unix's goes through an assembly stub that
//     reloads g from thread-local memory, which may be gone)
//   - allocate, defer, panic, take a bounds check, convert to an interface
//   - store a Go pointer (the write barrier reads a global)
//   - use sync/atomic (the race detector replaces it); the kernel does the
//     only read-modify-write operations, by FUTEX_WAKE_OP
//   - copy or clear large values (memmove reads a CPU flag from a global)
//   - keep its stack in shared memory
//   - fork when another task has failed
//
// The frames are small: the linker adds up the frames of nosplit functions and
// allows 800 bytes, and builds without optimization need more of them.
package postfork
