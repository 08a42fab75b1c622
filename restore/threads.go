package restore

import (
	"runtime"
	"sync"
)

// readyThreads makes the Go runtime start threads beforehand, which it keeps.
// Later there may be no pid left for one, since the tree has taken them all, and
// a runtime that cannot start a thread ends the process.
func readyThreads() {
	var begun, ended sync.WaitGroup
	begun.Add(spareThreads)
	for range spareThreads {
		ended.Go(func() {
			runtime.LockOSThread() // so that no two share one
			defer runtime.UnlockOSThread()
			begun.Done()
			begun.Wait()
		})
	}
	ended.Wait()
}
