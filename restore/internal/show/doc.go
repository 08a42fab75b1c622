// Package show writes a plan for people and for programs, with the descriptor tables that the
// model computes for each step.
package show
