// Package report says what was restored: the numbers of tasks, their descriptors, who
// shares a table, and what went through the store. What only the kernel knows it reads
// back, see packages proc and [SharedTables].
package report
