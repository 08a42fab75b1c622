// Package restoretest gives Go tests a described process tree: tasks with their pids,
// open files and pipes, for a program that looks at processes or a descriptor table that
// somebody has reported.
//
//	tree := restoretest.Start(t, `
//	version: 1
//	files: {p: {type: pipe}}
//	tasks: [{name: writer, fds: {7: p.w}, children: [{name: reader, fds: {7: p.r}}]}]`)
//	look(tree.PID("reader"))
//
// The tree ends with the test, and the test fails if anything of it is left. It is
// restored by a second process, the test binary again, whose only children the tree's are:
// the test may start processes of its own, and several trees at a time. Whatever ends the
// test binary, the tree ends too.
//
// Importing this package makes a test binary that second process where its environment
// says so, before main begins.
package restoretest
