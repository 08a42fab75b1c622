// Package restoretest gives Go tests a described process tree as a fixture: tasks with
// their pids, open files and pipes, for tests of a program that examines processes, or
// of a reported descriptor table.
//
//	tree := restoretest.Start(t, `
//	version: 1
//	files: {p: {type: pipe}}
//	tasks: [{name: writer, fds: {7: p.w}, children: [{name: reader, fds: {7: p.r}}]}]`)
//	look(tree.PID("reader"))
//
// The tree ends with the test, and the test fails if anything of the tree is left. A
// second process, the test binary started again, restores the tree and has no other
// children. So the test may start processes of its own, and have several trees at a
// time. The tree ends whenever the test binary ends.
//
// A test binary that imports this package becomes that second process, before main
// begins, if its environment says so.
package restoretest
