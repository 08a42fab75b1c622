// Package wire describes the layout of a store of package fdstore, for programs that
// make the system calls themselves: in which socket and at which position message [ID]
// is ([Layout.Place]), the data of a message ([Payload]), and how often to try. It
// contains data and arithmetic, and makes no system call.
//
// docs/fdstore-format.md is the same description for other languages. The comment of
// package fdstore has the sequence of calls.
package wire
