// Package early reads the RLIMIT_NOFILE that this process was started with, before Go's
// libraries change it.
//
// Package syscall raises the soft RLIMIT_NOFILE to the hard one in its init, and only
// os/exec and syscall.Exec undo that. A restored task, or a program that this process
// becomes by execve(2), must have the caller's limit, so the limit must be read earlier.
// Packages are initialized in the order of their import paths, each when all its imports
// are initialized (Go 1.21 and newer). This package imports nothing, so its init runs
// before that of syscall. Therefore it reads the limit with a few lines of assembly. A
// test checks the order.
package early
