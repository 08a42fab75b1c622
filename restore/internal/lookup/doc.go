// Package lookup decides where the programs of tasks are looked for, and with which
// environment they start:
//
//	caller's environment, the task's ─▶ PATH ─▶ folders ─▶ places, each once for all tasks
//
// It is pure: whether a place has the program is found out when the tree is restored.
package lookup
