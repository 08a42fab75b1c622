// Package bench plans the processes that make steps of recipes for the runner
// ([recipe.Bench]): which steps one of them makes, what it does before the first and
// behind the last, and how its files come back.
//
//	Maker.Bench ─▶ steps ─▶ batch ─┐  same settings, and nothing that they name is needed yet
//	Maker.Bench ─▶ steps ──────────┴─▶ emit ─▶ a bench's program
//	                                     └───▶ the runner's ops: socketpair, OpBench, OpReceive
//
// It is pure. The ops are written by the planner, which it knows as [Writer].
package bench
