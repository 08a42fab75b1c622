// Package lookup decides in which places the programs of tasks are looked up, and with
// which environment they start:
//
//	caller's environment, the task's ─▶ PATH ─▶ folders ─▶ places, each once for all tasks
//
// It is pure. Which place has the program is found out when the tree is restored.
package lookup
