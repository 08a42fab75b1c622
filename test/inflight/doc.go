// Package inflight separates tests that the go command runs at the same time and that share
// a limit of the kernel: the open files of a user in flight in Unix sockets, which
// RLIMIT_NOFILE limits for processes without CAP_SYS_ADMIN (ETOOMANYREFS, unix(7)). A store
// of 50,000 files exhausts it. Then a restore at the same time fails, if its tasks have
// rights only in their own user namespace.
package inflight
