// Package model says what a plan will do to descriptor tables, without a system call: it
// runs the programs against tables of its own, by the kernel's rules: of tasks by number,
// of the runner and its benches by slot. [Verify] wants every
// table to be what the description says, [Predict] tells what a naive plan loses.
package model
