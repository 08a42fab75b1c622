// Package wire says how a store of package fdstore looks to those who pull from
// its sockets by themselves: where message [ID] lies ([Layout.Place]), what its
// data must say ([Payload]), and how often to try. It is data and arithmetic; no
// system call is made.
//
// docs/fdstore-format.md writes the same down for other languages, and the comment
// of package fdstore has the sequence of calls.
package wire
