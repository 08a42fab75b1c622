// Package execfd replaces this process by another program, with open files at the
// numbers that the program expects. [os/exec.Cmd.ExtraFiles] does this only for a child.
//
// A Go program cannot simply dup2 a file to number 3 before it calls execve: the
// Go runtime may have its epoll instance at 3. Other threads use it until the exec, and
// if the runtime loses it, it ends the process. So the calling thread first gets a copy
// of the descriptor table of its own (CLOSE_RANGE_UNSHARE, since Linux 5.9), changes the
// copy, and calls execve. The new program has the table of the calling thread.
//
//	table of the process   0 1 2 [3 epoll] [4 eventfd] [5 file]      other threads, untouched
//	copy for this thread   0 1 2 [3 file]  [4 eventfd] [5 file]      dup3(5, 3)
//	after execve           0 1 2 [3 file]                            the rest is close-on-exec
//
// The process keeps its pid, its parent and its children, see execve(2).
package execfd
