package runner

import (
	"context"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/report"
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
	return plan.View{Plan: r.plan, PIDs: report.HostPIDs(r.plan.Tree, r.root.ID, r.inner()), Failed: r.failedOps(), Made: r.files.Made()}
}
