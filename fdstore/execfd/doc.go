// Package execfd replaces this process by another program and puts open files at
// the numbers that the program expects them at, which [os/exec.Cmd.ExtraFiles]
// does for a child only.
//
// A Go program cannot simply dup2 a file to number 3 before it calls execve: the
// Go runtime may have its epoll instance there, which other threads use until
// the very moment of the exec, and a runtime that loses it ends the process. So
// the calling thread takes a copy of the descriptor table first
// (CLOSE_RANGE_UNSHARE, since Linux 5.9), changes that one, and calls execve; the
// kernel lets the new program have the table of the thread that calls.
//
//	table of the process   0 1 2 [3 epoll] [4 eventfd] [5 file]      other threads, untouched
//	copy for this thread   0 1 2 [3 file]  [4 eventfd] [5 file]      dup3(5, 3)
//	after execve           0 1 2 [3 file]                            the rest is close-on-exec
//
// The process keeps its pid, its parent and its children, see execve(2).
package execfd
