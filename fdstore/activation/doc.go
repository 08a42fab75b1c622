// Package activation receives open files from a service manager, passes files to programs
// as a service manager does, and keeps files in the manager's file descriptor store. It
// implements the protocols of systemd's sd_listen_fds(3) and sd_notify(3), without its
// library.
//
//	manager ── LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID ──▶ Receive   this process, at its start
//	this process ── Command, Exec ── LISTEN_FDS, ... ──▶ a program that expects a manager
//	this process ── Manager.Store, Manager.Remove ── NOTIFY_SOCKET ──▶ manager, which passes
//	                                                                   them at the next start
//
// # The environment
//
// Files are at the numbers from [First] on, without close-on-exec, in the order of the
// names. They are for the process whose pid is LISTEN_PID. If LISTEN_PIDFDID is set and
// the kernel supports it, it must also be the inode number of a pidfd of the process.
// Unlike a pid that number is not reused (systemd 259; pidfds have unique inode numbers
// since Linux 6.9).
//
//	LISTEN_FDS=2                how many files
//	LISTEN_FDNAMES=http:admin   their names, which need not be unique
//	LISTEN_PID=4711             the process that they are for
//	LISTEN_PIDFDID=1234567      the same process, without ambiguity
//
// # A child's pid
//
// A child has a pid only after the fork, when a Go program can no longer change the
// child's environment. So [Command] makes the child run this program once more. There
// [Init] writes the child's own pid into the environment and calls execve, which keeps
// the pid. The alternatives are worse: a shell in between (export LISTEN_PID=$$) loses
// the name of the program and variables with names that a shell does not allow, and
// cannot set LISTEN_PIDFDID; without LISTEN_PID most programs ignore the files.
//
// # A store in the manager's store
//
// A service manager keeps a limited number of files (FileDescriptorStoreMax), each with
// a name. The root of an fdstore.Store is one file, and all files of the store are kept
// with it: see the example of [Manager.Store].
//
// The package requires Linux; elsewhere all functions return [errors.ErrUnsupported].
package activation
