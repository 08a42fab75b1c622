// Package model computes what a plan will do to descriptor tables, without a system
// call: it runs the programs on tables of its own, by the kernel's rules: those of tasks by
// number, those of the runner and its benches by slot. [Verify] checks that every final
// table is as described. [Predict] tells what a naive plan loses.
package model
