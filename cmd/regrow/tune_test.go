package main

import (
	"runtime"
	"testing"
)

// TestTuneProcessors pretends that the machine is large.
func TestTuneProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct {
		environment string
		has, want   int
	}{{"", 64, 16}, {"", 3, 3}, {"64", 64, 64}} {
		t.Setenv("GOMAXPROCS", c.environment)
		runtime.GOMAXPROCS(c.has)
		tuneProcessors()
		if got := runtime.GOMAXPROCS(0); got != c.want {
			t.Errorf("%d processors, GOMAXPROCS=%q: regrow uses %d, want %d", c.has, c.environment, got, c.want)
		}
	}
}
