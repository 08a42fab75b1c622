// Package limits refuses what does not fit into the limits of a host: numbers that no
// process may have there, and more open files than one may have at once. Each error is a
// [*plan.RefusedError] that says which limit that is, and what makes the tree possible.
//
// It is pure: the limits are those that the plan's host says.
package limits
