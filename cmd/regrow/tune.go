package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// tuneMemory lets a short run collect no garbage at all, and a large one keep its
// memory small: the Go runtime collects when it has 60 MiB, which a tree of 1,000
// tasks does not reach. Once more than half of that is in use after a collection,
// that would be all the time; then the heap grows by a third between two of them.
// Does nothing if the environment says what to do.
func tuneMemory() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	const room, growth = 60 << 20, 30
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(room)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var collected func(*[64]byte)
	collected = func(*[64]byte) {
		metrics.Read(live)
		if live[0].Value.Uint64() > room/2 {
			debug.SetGCPercent(growth)
			debug.SetMemoryLimit(math.MaxInt64)
			return
		}
		runtime.SetFinalizer(new([64]byte), collected)
	}
	// The next collection finds that nobody refers to this.
	runtime.SetFinalizer(new([64]byte), collected)
}

// tuneProcessors bounds what the Go runtime uses of a large machine: reading a
// description is the most parallel thing that regrow does, and a restore makes a
// thread for each processor beforehand, at some 70 µs. Does nothing if the
// environment says how many.
func tuneProcessors() {
	const most = 16
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > most {
		runtime.GOMAXPROCS(most)
	}
}
