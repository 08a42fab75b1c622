package runner

import (
	"context"
	"sync"
	"time"

	"regrow/internal/proc"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
)

// watch notices what ends a restore from outside before the tree is released: a task that
// dies, the context, the timeout. It then raises the abort flag.
type watch struct {
	*loaded

	root     *root
	timeout  time.Duration // 0: none
	deadline time.Time     // when it is over

	once sync.Once
	quit chan struct{}
	done sync.WaitGroup

	mu        sync.Mutex
	err       error
	pidfd     int
	open      bool // released: deaths are no longer a failure
	rootGone  bool
	impatient bool // the context has ended
	still     stillness
}

// watch begins to look; [watch.stop] ends that.
func (r *run) watch(ctx context.Context) *watch {
	w := &watch{loaded: &r.loaded, root: &r.root, timeout: r.options.Timeout, deadline: r.deadline, quit: make(chan struct{}), pidfd: -1}
	w.done.Go(func() { w.context(ctx) })
	w.done.Go(w.deaths)
	return w
}

// context waits until the caller's context has ended.
func (w *watch) context(ctx context.Context) {
	var over <-chan time.Time
	if w.timeout > 0 {
		timer := time.NewTimer(time.Until(w.deadline))
		defer timer.Stop()
		over = timer.C
	}
	for {
		select {
		case <-w.quit:
			return
		case <-ctx.Done():
			w.abort(w.errorf("%w: %w", plan.ErrCanceled, context.Cause(ctx)))
			w.mu.Lock()
			w.impatient = true
			w.mu.Unlock()
			return
		case <-over:
			w.abort(w.late())
			over = nil
		}
	}
}

// late gives the error of a restore that takes too long.
func (w *watch) late() error {
	return w.errorf("%w, after %v: %d of %d tasks are not ready", plan.ErrTimeout, w.timeout,
		postfork.Load(&w.arena.Head().Left)&program.CountMask, len(w.plan.Tasks))
}

// deaths waits on Head.Bell. The kernel wakes it when a task ends or execs,
// because the bell is the pending entry of every task's robust list and its
// word is 0 (kernel/futex, handle_futex_death; since Linux 5.5). A wake that
// comes between a look and the next wait is lost, so the wait is bounded.
func (w *watch) deaths() {
	h := w.arena.Head()
	for {
		select {
		case <-w.quit:
			return
		default:
		}
		postfork.Wait(&h.Bell, 0, 20*time.Millisecond)
		w.look()
	}
}

// look finds tasks that have ended before release.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pidfd >= 0 && !w.rootGone && proc.Ended(w.pidfd, 0) {
		w.rootGone = true
	}
	if w.open {
		return
	}
	if w.rootGone {
		w.died(0)
		return
	}
	var fresh []int
	forked := 0
	for i := range w.plan.Tasks {
		rec := w.arena.Record(i)
		if postfork.Load(&rec.Word)&program.FutexDead != 0 {
			w.died(i)
			return
		}
		// The root is watched by its pidfd.
		if i > 0 && postfork.LoadPID(&rec.PID) != 0 {
			forked++
			if postfork.Load(&rec.Begun) == 0 {
				fresh = append(fresh, i)
			}
		}
	}
	left := int(postfork.Load(&w.arena.Head().Left))
	if w.still.stands([3]int{forked, len(fresh), left}) && len(fresh) > 0 {
		if dead := w.stillborn(fresh); dead > 0 {
			w.died(dead)
		}
	}
}

// stillborn finds a task that was killed before it could make its death known,
// or gives 0, for the root is not among them. fresh are the tasks that were forked
// and have not done so. It reads /proc for every task.
//
// Nobody waits for a task before release, so one that was killed is listed as ended. One
// that is not listed may live: what /proc lists as children need not be complete while
// some of them come and go, see proc_pid_task(5).
func (w *watch) stillborn(fresh []int) int {
	ended, err := w.root.ended()
	if err != nil {
		return 0 // not known
	}
	for _, i := range fresh {
		if ended[int(w.arena.Record(i).PID)] {
			return i
		}
	}
	return 0
}

// stillness finds out whether a restore stands still, since only then a look at
// every process is worth what it costs: on a busy machine many tasks wait for a
// processor, and they would have to wait for the look, too.
type stillness struct {
	seen     [3]int
	since    time.Time
	patience time.Duration
}

// stands reports that nothing has changed for a while, which is longer each time.
func (s *stillness) stands(now [3]int) bool {
	const first, longest = 60 * time.Millisecond, time.Second
	if now != s.seen || s.since.IsZero() {
		*s = stillness{seen: now, since: time.Now(), patience: first}
		return false
	}
	if time.Since(s.since) < s.patience {
		return false
	}
	s.since, s.patience = time.Now(), min(2*s.patience, longest)
	return true
}

// died aborts because a task has ended. The one that failed by itself has told
// why; another was killed.
func (w *watch) died(task int) {
	rec := w.arena.Record(task)
	if rec.Errno == 0 && w.err == nil {
		t := w.plan.Tree.Tasks()[task]
		w.err = &plan.OpError{Source: w.plan.Tree.Source, Pos: t.Pos, Task: t.Name, PID: int(rec.PID), Err: plan.ErrTaskDied}
	}
	w.raise()
}

// abort ends the restore for a reason from outside. After release there is a
// tree, and what is to become of it is for the caller to say: Start only stops
// waiting for the programs.
func (w *watch) abort(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open {
		return
	}
	if w.err == nil {
		w.err = err
	}
	w.raise()
}

func (w *watch) rootFD(fd int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pidfd = fd
}

// released marks the commit point. It reports false if the restore was aborted before, or
// has missed its deadline and nobody has noticed yet.
func (w *watch) released() bool {
	if w.timeout > 0 && time.Now().After(w.deadline) {
		w.abort(w.late())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = postfork.Load(&w.arena.Head().Left)&program.AbortBit == 0
	return w.open
}

func (w *watch) rootDied() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rootGone
}

// stopsWaiting reports whether the context has ended after release.
func (w *watch) stopsWaiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.impatient && w.open
}

func (w *watch) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// stop ends the watch and waits until it no longer looks at the arena.
func (w *watch) stop() {
	w.once.Do(func() {
		close(w.quit)
		postfork.Wake(&w.arena.Head().Bell)
		w.done.Wait()
	})
}
