// Package assign decides what holds for a whole tree, before any task's program is
// written:
//
//	which open files the runner makes, and which each task makes itself
//	the form of the store, and its number in the tasks; or the numbers of what is inherited
//	the caller's descriptors, by key
//	the pid of each task, where any is exact
//	who meets at a shared descriptor table
//
// It is pure, and writes no op.
package assign
