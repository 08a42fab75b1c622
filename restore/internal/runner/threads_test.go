package runner

import (
	"os"
	"testing"
)

// TestStartThreads looks whether the kernel has the threads, and whether the
// runtime keeps them: a second call must not make as many again.
func TestStartThreads(t *testing.T) {
	threads := func() int {
		t.Helper()
		all, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	need := threadsNeeded()
	startThreads(need)
	first := threads()
	if first < need {
		t.Errorf("%d threads, want %d at least", first, need)
	}
	for range 10 {
		startThreads(need)
	}
	if more := threads() - first; more >= need {
		t.Errorf("%d threads more after 10 calls: none is kept", more)
	}
}

func BenchmarkStartThreads(b *testing.B) {
	for b.Loop() {
		startThreads(threadsNeeded())
	}
}
