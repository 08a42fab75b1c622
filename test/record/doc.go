// Package record keeps a list of the tests that have passed in several runs, on this
// machine and in virtual ones, to detect tests that no run has. See test/tally.
package record
