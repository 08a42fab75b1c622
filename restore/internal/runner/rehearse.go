package runner

import (
	"context"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/report"
)

// Rehearse carries a plan out up to the commit point, calls during and ends the tree.
// during may start or rehearse another plan, but not this one; it runs in a goroutine of
// its own.
func Rehearse(ctx context.Context, p *plan.Plan, o Options, by Joined, during func(plan.View) error) error {
	o.Ready = func(v plan.View) error {
		// Other restores need another thread than this one, which owns the gate.
		starting.Unlock()
		defer starting.Lock()
		done := make(chan error, 1)
		go func() { done <- during(v) }()
		return <-done
	}
	_, err := Start(ctx, p, o, by)
	return err
}

// view gives what there is to look at when every task is ready.
func (r *run) view() plan.View {
	v := plan.View{PIDs: report.HostPIDs(r.plan.Tree, r.root.ID, r.inner()), Failed: r.failedOps(), Files: map[string]int{}}
	for fe, fd := range r.files.Made() {
		v.Files[r.plan.EndName(fe)] = fd
	}
	return v
}
