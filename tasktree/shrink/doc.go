// Package shrink reduces a tree while a condition stays true: from a tree of hundreds
// of tasks with a conflict it finds the few descriptors that cause the conflict.
//
// The method is delta debugging (Zeller and Hildebrandt, Simplifying and Isolating
// Failure-Inducing Input, 2002) on the model. It leaves out tasks, descriptors and
// attributes in chunks, from all of them down to single ones, and keeps each valid tree
// for which the condition is true. It never changes numbers, because conflicts depend
// on them.
package shrink
