// Package early reads what the caller gave this process before the Go runtime's
// libraries change it.
//
// Package syscall raises the soft RLIMIT_NOFILE to the hard one in its init,
// and only os/exec and syscall.Exec undo that. A restored task, or a program that this
// process becomes by a call of its own, must have the caller's limit, so it has to be
// read earlier. The linker initializes packages
// in the order of their import paths as soon as all that they import is
// initialized (Go 1.21 and newer), and this package imports nothing; so its
// init runs before the one of syscall. For the same reason it reads the limit
// by a few lines of assembly. A test holds the order.
package early
