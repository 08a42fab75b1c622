// Package attr implements the attributes of tasks, one group in each file: their keys,
// their rules, and the calls by which a task sets them.
//
// A new attribute is one new file, with a type that implements [tasktree.Attribute] and
// an init function that registers it. Nothing else changes: package images decodes and
// encodes the attribute, and the planner puts its calls into the task's program.
//
// Like the model, the package is pure.
package attr
