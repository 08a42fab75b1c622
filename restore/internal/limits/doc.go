// Package limits refuses trees that do not fit into the limits of a host: numbers
// beyond the limit of descriptors, and more open files than a process can have at once.
// Each error is a [*plan.RefusedError] that names the limit and the remedy.
//
// It is pure: the limits are those of the plan's Host.
package limits
