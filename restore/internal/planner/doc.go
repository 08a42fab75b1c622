// Package planner decides beforehand everything that restoring a tree will do: [New] makes
// a plan of a checked tree and a host. It is pure.
//
//	what holds for the tree ─▶ runner's program ─▶ for each task: fork, gather, install, wait, exec
//	assign, limits             runnerMaker, bench  taskPlanner, with landing and lookup
//
// How open files get into a task's table is the strategy's: pull.go pulls from a store,
// service.go asks a process, inherit.go takes what came with the fork, and naive.go does
// each without looking.
package planner
