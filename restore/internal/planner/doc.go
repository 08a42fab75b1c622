// Package planner decides beforehand everything that restoring a tree will do: [New] makes
// a plan of a checked tree and a host. It is pure.
//
//	order and numbers ─▶ runner's program ─▶ for each task: gather, install, fork, wait, exec
//
// How open files get into a task's table is the strategy's: gather.go pulls from a store,
// service.go asks a process, inherit.go takes what came with the fork, and naive.go does
// each without looking.
package planner
