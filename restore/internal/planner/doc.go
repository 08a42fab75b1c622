// Package planner decides beforehand everything that restoring a tree will do: [New] makes
// a plan of a checked tree and a host. It is pure.
//
//	order and numbers ─▶ runner's program ─▶ for each task: gather, install, fork, wait, exec
//
// How open files get into a task's table is the strategy's: files that begin with its
// name have what is its own.
package planner
