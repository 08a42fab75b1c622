package runner

import (
	"context"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/words"
)

// Rehearse carries a plan out up to the commit point, calls during and ends the tree.
// during may start or rehearse another plan; it runs in a goroutine of its own.
func Rehearse(ctx context.Context, p *plan.Plan, o Options, by Joined, during func() error) error {
	o.Ready = func(plan.View) error {
		// Other restores need another thread than this one, which owns the gate.
		starting.Unlock()
		defer starting.Lock()
		done := make(chan error, 1)
		go func() { done <- during() }()
		return <-done
	}
	_, err := Start(ctx, p, o, by)
	return err
}

// view gives what there is to look at when every task is ready.
func (r *run) view() plan.View {
	v := plan.View{Plan: r.plan, Failed: make([]*plan.FailedOp, len(r.plan.Tasks)), Made: map[plan.FileEnd]int{}}
	_, v.PIDs = r.pids()
	for i := range r.plan.Tasks {
		if rec := r.arena.Record(i); rec.Errno != 0 {
			v.Failed[i] = words.FailedOp(r.plan, i, int(rec.Op), unix.Errno(rec.Errno))
		}
	}
	for fe, s := range r.plan.SlotsOf {
		if r.slots[s].open {
			v.Made[fe] = r.slots[s].fd
		}
	}
	if r.store != nil {
		v.Made[plan.TheStore] = r.store.fd()
	}
	return v
}
