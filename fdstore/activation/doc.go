// Package activation takes open files from a service manager, gives them to
// others as one does, and keeps them in its store: the protocols of systemd's
// sd_listen_fds(3) and sd_notify(3), without its library.
//
//	manager ── LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID ──▶ Receive   this process, as it starts
//	this process ── Command, Exec ── LISTEN_FDS, ... ──▶ a program that expects a manager
//	this process ── Manager.Store, Manager.Remove ── NOTIFY_SOCKET ──▶ manager, which gives it
//	                                                                   back at the next start
//
// # The environment
//
// Files stand at the numbers from [First] on, without close-on-exec, in the
// order of the names. A process is meant if LISTEN_PID is its pid and, where the
// kernel tells, LISTEN_PIDFDID is the inode number of a pidfd of it, which is not
// given out again as a pid is (systemd 259; pidfds have numbers of their own
// since Linux 6.9).
//
//	LISTEN_FDS=2                how many there are
//	LISTEN_FDNAMES=http:admin   what they are called, names may come several times
//	LISTEN_PID=4711             whom they are for
//	LISTEN_PIDFDID=1234567      the same, for certain
//
// # A child's pid
//
// A child has its pid only after the fork, when a Go program can no longer
// change its environment. So [Command] lets the child be this program once more,
// where [Init] writes the child's own numbers into the environment and calls
// execve, which keeps the pid. The alternatives are worse: a shell in between
// (export LISTEN_PID=$$) loses the name of the program and variables whose names
// are not the shell's, and has no LISTEN_PIDFDID; without LISTEN_PID most programs
// ignore the files.
//
// # A store in the store
//
// A service manager keeps few files (FileDescriptorStoreMax) and a name for each.
// The root of an fdstore.Store is one file, and all that the store keeps
// survives with it: see the example of [Manager.Store].
//
// Needs Linux; elsewhere all functions return [errors.ErrUnsupported].
package activation
