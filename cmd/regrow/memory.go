package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
)

// tuneMemory lets a short run collect no garbage at all, and a large one keep its
// memory small: the first collection comes when the Go runtime has 48 MiB, which a
// tree of 1,000 tasks does not reach, and from then on the heap grows by half at
// most between two of them. Does nothing if the environment says what to do.
func tuneMemory() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	const first, growth = 48 << 20, 50
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(first)
	// The first collection finds that nobody refers to this.
	runtime.SetFinalizer(new([64]byte), func(*[64]byte) {
		debug.SetGCPercent(growth)
		debug.SetMemoryLimit(math.MaxInt64)
	})
}
