// Package memory says which of this process's memory a task needs and what it sheds: it
// reads the process's own map.
package memory
