// Package proc tells processes apart, for good. A number alone does not: the kernel
// gives it to another process once the one that had it has been waited for.
//
// An [ID] is a number and when the process that has it began. What is done to a
// process is done by a pidfd that is opened for it, compared with the ID and closed
// again, so that thousands of processes cost no descriptors; where a sandbox refuses
// pidfds, by the number, directly after the comparison.
//
// Needs Linux 5.4 (waitid(2) with P_PIDFD) for pidfds, and /proc of the caller's own
// pid namespace.
package proc
