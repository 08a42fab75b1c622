package runner

import (
	"sync"
	"time"

	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
)

// Progress says how far a restore is. The counts go up to Tasks.
type Progress struct {
	Tasks     int
	Forked    int // tasks that there are
	Installed int // tasks that have all their descriptors and wait for the release
	Released  int // tasks that hold, of those without a program

	// Over is set the last time: whoever has drawn something removes it. With a
	// program in the tree that is before the release, because from then on the
	// tree may write to the same terminal.
	Over bool
}

// reporter calls Options.Progress from a goroutine of its own. A nil reporter
// does nothing.
type reporter struct {
	*loaded

	quit chan struct{}
	done sync.WaitGroup
	once sync.Once
}

// newReporter begins to report, if somebody wants to know.
func newReporter(l *loaded, to func(Progress)) *reporter {
	if to == nil {
		return nil
	}
	rep := &reporter{loaded: l, quit: make(chan struct{})}
	rep.done.Go(func() {
		const often = 50 * time.Millisecond
		tick := time.NewTicker(often)
		defer tick.Stop()
		for {
			select {
			case <-rep.quit:
				p := rep.look()
				p.Over = true
				to(p)
				return
			case <-tick.C:
				to(rep.look())
			}
		}
	})
	return rep
}

// look counts.
func (rep *reporter) look() Progress {
	h, n := rep.arena.Head(), len(rep.plan.Tasks)
	p := Progress{
		Tasks:     n,
		Installed: n - int(postfork.Load(&h.Left)&program.CountMask),
		Released:  rep.plan.Held - int(postfork.Load(&h.Started)&program.CountMask),
	}
	for i := range n {
		if i == 0 || postfork.LoadPID(&rep.arena.Record(i).PID) != 0 {
			p.Forked++
		}
	}
	return p
}

// stop reports the last time, and returns when that is done.
func (rep *reporter) stop() {
	if rep == nil {
		return
	}
	rep.once.Do(func() {
		close(rep.quit)
		rep.done.Wait()
	})
}
