// Package cstore tests the layout of package fdstore with programs in C that were written
// from docs/fdstore-format.md alone: one pulls from a store made in Go, one makes a store
// that Go opens.
package cstore
