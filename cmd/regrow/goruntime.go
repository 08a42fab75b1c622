package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// limitMemory makes the Go runtime collect garbage only when it uses 60 MiB, which a
// tree of 1,000 tasks does not reach. If more than half of that is live after a
// collection, the runtime would collect all the time; from then on the heap may grow by
// 30 % between two collections. limitMemory does nothing if GOGC or GOMEMLIMIT is set.
func limitMemory() {
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
	// The finalizer runs after the next collection: nothing refers to this object.
	runtime.SetFinalizer(new([64]byte), collected)
}

// limitProcessors limits how many processors the Go runtime uses. More would only help
// to read a description, and a restore starts a thread for each processor beforehand, at
// some 70 µs each. limitProcessors does nothing if GOMAXPROCS is set.
func limitProcessors() {
	const most = 16
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > most {
		runtime.GOMAXPROCS(most)
	}
}
