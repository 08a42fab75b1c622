// Package rounds says how much a run of the tests draws: how many rounds of what
// is random, and which of many cases. A test that takes more than a second or two
// asks it, so that `go test ./...` is short everywhere, and no test is dropped:
//
//	REGROW_TEST_ROUNDS  run by
//	few (the default)   go test ./..., make test-builds
//	all                 make test-root
//	soak                make test-soak: the same tests, ten times the rounds
//
// Where the end-to-end tests run many times, with regrow built in another way or on
// another kernel, a run has a part of them ([Part]).
//
// REGROW_TEST_SEED says which cases, and what is drawn in the rounds. Tests log
// it, and the same number draws the same again.
package rounds
