// Package rounds decides how many random rounds and which of many cases a run of the tests
// has. A test that takes more than a second or two uses it, so that `go test ./...` is short
// and no test is dropped:
//
//	REGROW_TEST_ROUNDS  run by
//	few (the default)   go test ./..., make test-builds
//	all                 make test-root
//	soak                make test-soak: the same tests, ten times the rounds
//
// If the end-to-end tests run many times, with different builds of regrow or on different
// kernels, each run has a part of them ([Part]).
//
// REGROW_TEST_SEED is the seed of the random choices. Tests log it, and the same seed repeats
// the same choices.
package rounds
