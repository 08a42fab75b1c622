// Package kind has the kinds of open files that a description can ask for, one
// a file: the keys it is written with, its rules, and the recipe that makes it.
//
// A new kind is one new file. It has a type that implements
// [tasktree.Spec] and an init function that calls register with the kind's
// word and a function that makes a zero one. Nothing else has to change: package
// images decodes by [Lookup], the planner makes files by Spec.Make, and package
// images/live finds the kind of a live open file by [Of] and lets it be read, if it
// is [Readable].
//
// Like the model, the kinds are pure: a recipe is a list of system calls, not
// their execution.
package kind
