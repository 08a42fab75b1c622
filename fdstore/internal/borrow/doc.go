// Package borrow gives the descriptors of open files for the length of a call, so that
// none of them can be closed meanwhile and no file changes: os.File.Fd would make a
// pipe or a socket blocking, for all who share it.
package borrow
