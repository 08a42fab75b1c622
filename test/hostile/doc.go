// Package hostile tests the cost of descriptions that are designed to be expensive. It has
// only tests.
package hostile
