// Package cstore holds the layout of package fdstore against programs in C that
// know nothing but docs/fdstore-format.md: one pulls from a store made in Go, one
// makes a store that Go opens.
package cstore
