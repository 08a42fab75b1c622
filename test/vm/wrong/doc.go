// Package wrong has tests that fail on purpose, to check that failures in a machine are
// always reported.
package wrong
