// Package plan is a restore as data. A [Plan] has a program for the runner and one for
// each task, and the messages of the store. [Options] and [Host] are the input of the
// planner. The errors are those that concern a line of the description.
//
//	planner ─▶ Plan ─▶ model, show, runner
//
// The package makes no system call, and depends neither on the planner nor on the
// runner.
package plan
