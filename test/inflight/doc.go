// Package inflight keeps tests apart that the go command runs at the same time and
// that share one allowance of the kernel: the open files of a user that are in flight
// in Unix sockets, which RLIMIT_NOFILE bounds for everybody without CAP_SYS_ADMIN
// (ETOOMANYREFS, unix(7)). A store of 50,000 files takes all of it, and a restore
// beside it, whose tasks have rights in their own user namespace only, gets none.
package inflight
