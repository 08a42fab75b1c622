package main

import (
	"runtime"
	"testing"
)

// TestLimitProcessors sets GOMAXPROCS as on machines of different sizes.
func TestLimitProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct {
		environment string
		has, want   int
	}{{"", 64, 16}, {"", 3, 3}, {"64", 64, 64}} {
		t.Setenv("GOMAXPROCS", c.environment)
		runtime.GOMAXPROCS(c.has)
		limitProcessors()
		if got := runtime.GOMAXPROCS(0); got != c.want {
			t.Errorf("%d processors, GOMAXPROCS=%q: regrow uses %d, want %d", c.has, c.environment, got, c.want)
		}
	}
}
