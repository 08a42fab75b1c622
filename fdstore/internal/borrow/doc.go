// Package borrow lends the descriptors of open files for the length of a call. During
// the call none of them can be closed. Unlike os.File.Fd it does not make a pipe or a
// socket blocking, which would affect all processes that share it.
package borrow
