// Package show writes a plan for people and for programs, with the tables that the model
// says each step leaves.
package show
