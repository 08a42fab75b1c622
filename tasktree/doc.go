// Package tasktree is the model of a process tree to restore, and its rules: tasks,
// open files, the descriptors that refer to them, and what tasks share.
//
// The package is pure: it makes no system call and reads no file. So it can be tested
// and fuzzed without root.
//
//	Tree ─┬─ Files: OpenFile{Name, Spec}      made once each
//	      └─ Root:  Task ─┬─ FDs: Descriptor ──▶ one end of an OpenFile
//	                      └─ Children: Task …
//
// A tree comes from package images, or from a program that fills in the exported
// fields. [Tree.Check] then applies the rules, resolves the names of open files and
// reports every problem at once. Only a checked tree may be planned.
//
// Each kind of open file (a pipe, a regular file) is defined in package tasktree/kind
// and known here only as a [Spec].
package tasktree
