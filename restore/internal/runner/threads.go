package runner

import (
	"runtime"
	"sync"
)

// blocked is how many goroutines may wait in system calls at once while the tree
// is forked: Start, its watch, the reader of a signal and a writer of messages.
const blocked = 4

// threadsNeeded counts one thread for each P, since the garbage collector uses all
// of them, and one for each goroutine that waits in the kernel.
func threadsNeeded() int { return runtime.GOMAXPROCS(0) + blocked }

// readyThreads makes the Go runtime start the threads that it may need, which it keeps.
// Later there may be no pid left for one, since the tree has taken them all, and a runtime
// that cannot start a thread ends the process. None are started if the limit of pids has no
// room for them beside the tasks: then the tree needs those pids.
func readyThreads(room, tasks int) {
	n := threadsNeeded()
	if room < n || tasks <= room && room-n < tasks || !spaceForThreads() {
		return
	}
	startThreads(n)
}

// startThreads makes the runtime have so many threads that wait for work.
func startThreads(n int) {
	var begun, ended sync.WaitGroup
	begun.Add(n)
	for range n {
		ended.Go(func() {
			runtime.LockOSThread() // so that no two share one
			defer runtime.UnlockOSThread()
			begun.Done()
			begun.Wait()
		})
	}
	ended.Wait()
}
