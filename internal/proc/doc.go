// Package proc is the one reader of /proc: what the kernel tells there of processes,
// of their descriptors, memory and namespaces, and of itself. Nobody else in this
// module opens or reads a path below /proc (test/house holds that; package fdstore is
// a library of its own).
//
// # Which process
//
// A number alone does not tell processes apart for good: the kernel gives it to another
// process once the one that had it has been waited for. An [ID] is a number and when the
// process that has it began. What is done to a process is done by a pidfd that is opened
// for it, compared with the ID and closed again, so that thousands of processes cost no
// descriptors; where a sandbox refuses pidfds, by the number, directly after the
// comparison.
//
// Functions that only read take a number. [Caller] stands for the calling process.
//
// # Errors
//
// They name the path. Where the process is gone, or /proc is not mounted, they wrap
// [os.ErrNotExist]; without the right to look, [os.ErrPermission].
//
// Needs /proc of the caller's own pid namespace, and Linux 5.4 (waitid(2) with P_PIDFD)
// for pidfds.
package proc
