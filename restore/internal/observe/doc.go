// Package observe looks at the tables of a tree at the commit point, when every task is
// ready, and says what each descriptor really is.
//
//	known files      open in this process, too: found by kcmp(2), in the kernel's order
//	private names    made by a task for itself: known by what they lead to
//
// The runner does not know this package: it is handed [Look] as a function.
package observe
