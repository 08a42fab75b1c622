// Package attr has the attributes of tasks, one group a file: the keys they are
// written with, their rules, and the calls by which a task gets them.
//
// A new attribute is one new file, with a type that implements
// [tasktree.Attribute] and an init function that registers it. Nothing else has
// to change: package images decodes and encodes it, the planner puts its calls
// into the program of the task.
//
// Like the model, the attributes are pure.
package attr
