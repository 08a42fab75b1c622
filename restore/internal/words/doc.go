// Package words says in messages and pictures what a plan does: how a system call is
// written, what a step is for, and how the failure of one reads.
package words
