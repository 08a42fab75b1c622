// Package report makes the report of a restore: pids, descriptors, shared tables, and
// what went through the store. It reads back what only the kernel knows, see package
// proc and [SharedTables].
package report
