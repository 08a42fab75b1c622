package restore

import (
	"os"
	"testing"
)

// TestReadyThreads looks whether the kernel has the threads, and whether the
// runtime keeps them: a second call must not make as many again.
func TestReadyThreads(t *testing.T) {
	threads := func() int {
		t.Helper()
		all, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	need := threadsNeeded()
	readyThreads()
	first := threads()
	if first < need {
		t.Errorf("%d threads, want %d at least", first, need)
	}
	for range 10 {
		readyThreads()
	}
	if more := threads() - first; more >= need {
		t.Errorf("%d threads more after 10 calls: none is kept", more)
	}
}

func BenchmarkReadyThreads(b *testing.B) {
	for b.Loop() {
		readyThreads()
	}
}
