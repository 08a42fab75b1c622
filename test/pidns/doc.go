// Package pidns runs a test in a pid namespace of its own, where the test can choose the pid
// of the next process. So it can reuse a pid at once, which otherwise happens only when a
// host has used all pids.
//
// It requires root, or a host that lets its users create user namespaces.
package pidns
