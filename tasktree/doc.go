// Package tasktree is the model of a process tree that is to be restored, and
// its rules: which tasks there are, which open files, which descriptors name
// them, what is shared, and what cannot be.
//
// The package is pure. It makes no system call and reads no file; it takes
// data and gives data back, so it can be tested and fuzzed without root.
//
//	Tree ─┬─ Files: OpenFile{Name, Spec}      made once each
//	      └─ Root:  Task ─┬─ FDs: Descriptor ──▶ one end of an OpenFile
//	                      └─ Children: Task …
//
// A tree comes from package images, or from a program that fills in the
// exported fields. [Tree.Check] then applies the rules, resolves the names of
// open files and reports every problem at once. Only a tree that was checked
// may be planned.
//
// What one kind of open file is (a pipe, a regular file) is not known here but
// in package tasktree/kind, behind the [Spec] interface.
package tasktree
