// Package parts names the types within reports, predictions, pictures and errors of
// package restore. Most programs do not need it: they can use the fields of these types
// without naming the types.
package parts
