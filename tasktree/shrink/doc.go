// Package shrink makes a large tree small while something stays true of it: a
// tree of hundreds of tasks that shows a conflict becomes the few descriptors
// that the conflict is about.
//
// It is delta debugging (Zeller and Hildebrandt, Simplifying and Isolating
// Failure-Inducing Input, 2002) on the model: it leaves out tasks, descriptors
// and attributes in chunks, from half of them down to one, and keeps each tree
// that is valid and of which the question is still answered with yes. Numbers
// are never changed: a conflict is about numbers.
package shrink
