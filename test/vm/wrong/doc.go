// Package wrong has tests that go wrong on purpose: they show that a machine in
// which something goes wrong is never taken for a good one.
package wrong
