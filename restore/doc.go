// Package restore brings a described process tree to life.
//
// It has two halves. The planner is pure: [NewPlan] turns a checked
// [tasktree.Tree] and a [Host] into a [Plan], one program of system calls for
// each task and one for the runner, with every descriptor number decided
// beforehand. [Plan.Verify] runs the programs against a model of descriptor
// tables; [Plan.WriteText] shows them.
//
// The runner, [Start], carries a plan out:
//
//	runner:  open shared files ─▶ fill the store ─▶ clone the root ─▶ wait ─▶ release
//	                                                     │             ▲
//	tasks:                                 shed the heap, fork children │
//	                                       pull, open, install ─── ready┘─▶ hold or exec
//
// Release is the commit point: until then a failure, a signal or the death of
// the runner leaves no task behind.
//
// How open files get into the tasks is a [Strategy], and each has a naive form
// that loses descriptors as restorers did. [Plan.Predict] tells beforehand what a
// plan needs and loses, [Observe] restores up to the commit point and reads back
// what each descriptor really is. A program that uses [StrategyService] calls
// [Init] first of all in main.
package restore
