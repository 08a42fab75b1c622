// Package record keeps a list of the tests that have passed somewhere, over
// several runs of tests on this machine and in others, so that a test which no
// run has can be found. See test/tally.
package record
