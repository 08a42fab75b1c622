// Package plan is what a restore will do, as data: [Plan] has a program for the runner
// and one for each task, and says which open files lie where. [Options] and [Host] are
// what it was made of. The errors are those that speak of a line of the description.
//
//	planner ─▶ Plan ─▶ model, show, runner
//
// It makes no system call and knows neither who makes a plan nor who carries it out.
package plan
