// Package hostile holds what a description may cost that wants to cost as much as
// it can. It has only tests.
package hostile
