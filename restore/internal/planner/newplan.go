package planner

import (
	"errors"
	"fmt"
	"slices"

	"regrow/fdstore"
	"regrow/fdstore/wire"
	"regrow/restore/internal/lookup"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// New plans the restore of a tree that [tasktree.Tree.Check] found without a
// problem. It is pure: it makes no system call.
//
// The error is a [*tasktree.InvalidError] if the description cannot be meant
// (an inherit key that nobody gave), a [*tasktree.GivenError] if a key of
// PlanOptions.Inherit names nothing, or a [*plan.RefusedError] if the host's limits do
// not allow it.
func New(t *tasktree.Tree, host plan.Host, o plan.Options) (*plan.Plan, error) {
	if t.Tasks() == nil {
		return nil, fmt.Errorf("restore: the tree was not checked")
	}
	t, err := t.Replace(o.Inherit)
	if err != nil {
		return nil, err
	}
	first, err := newPlan(t, host, o)
	_, refused := errors.AsType[*plan.RefusedError](err)
	over := err == nil && (overInFlight(first) || overFlat(first))
	if !repeats(o) || !refused && !over {
		return first, err
	}
	// Bringing files again saves calls, but it takes numbers early that a full table
	// needs for a while, and more room in the store.
	o.Once = true
	once, onceErr := newPlan(t, host, o)
	if err == nil && (onceErr != nil || overFlat(first) == overFlat(once) && first.InFlight() <= once.InFlight()) {
		return first, nil
	}
	return once, onceErr
}

// repeats reports whether messages may bring an open file more than once: the
// kernel installs what a message brings for a third of what a dup3 costs.
func repeats(o plan.Options) bool {
	return o.Strategy == plan.StrategyFDStore && !o.Naive && !o.Once
}

// FlatMessages is how many messages a store may have at most to be one socket.
// More cost a task more time to step over than the way through shards does, and
// an ordinary user's socket more room than it may have (fdstore, Limits).
const FlatMessages = 500

// overInFlight reports whether that is more than an ordinary user may have, all
// processes together: as many as RLIMIT_NOFILE allows, which the runtime has raised to
// the hard limit (unix(7), ETOOMANYREFS).
func overInFlight(p *plan.Plan) bool { return uint64(p.InFlight()) > p.Host.HardFiles }

// overFlat reports whether the store has more messages than one socket should.
func overFlat(p *plan.Plan) bool {
	return p.Options.Strategy == plan.StrategyFDStore && !p.Options.Naive && p.Layout == fdstore.Flat && p.Options.Layout == 0 && len(p.Messages) > FlatMessages
}

func newPlan(t *tasktree.Tree, host plan.Host, o plan.Options) (*plan.Plan, error) {
	if o.Base == 0 {
		o.Base = program.DefaultBase
	}
	pl := &planner{
		plan: &plan.Plan{
			Tree: t, Host: host, Options: o, StoreFD: -1,
			Arena:  program.NewArena(o.Base, len(t.Tasks())),
			Tasks:  make([]program.Program, len(t.Tasks())),
			Extras: make([]plan.Extra, 1),
			Words:  map[wire.Word]fdstore.ID{}, SlotsOf: map[plan.FileEnd]int32{},
		},
		messageIDs: map[string]fdstore.ID{},
		extraIDs:   map[string]int32{},
	}
	pl.programs = lookup.For(pl.plan)
	if err := pl.inherited(); err != nil {
		return nil, err
	}
	pl.place()
	pl.scratch.prepare(pl.plan, pl.stored)
	if err := pl.checkNumbers(); err != nil {
		return nil, err
	}
	if err := pl.makeStored(); err != nil {
		return nil, err
	}
	if err := pl.checkRunner(); err != nil {
		return nil, err
	}
	pl.lend()
	pl.meetings()
	pids := pl.exactPIDs()
	pl.exact = slices.ContainsFunc(pids, func(pid int32) bool { return pid != 0 })
	pl.plan.RootClone = pl.clone(t.Root, pids[0])
	pl.plan.ForkHints = pl.forkHint()
	for _, task := range t.Tasks() {
		tp := newTaskPlanner(pl, task, pids)
		if err := tp.plan(); err != nil {
			return nil, err
		}
		pl.plan.Tasks[task.Index] = tp.result()
		if task.Holds() {
			pl.plan.Held++
		}
	}
	pl.addMessages()
	pl.plan.Arena.Forget()
	return pl.plan, nil
}

// Rebased plans the same tree for an arena at another place.
func Rebased(p *plan.Plan, base uint64) (*plan.Plan, error) {
	o := p.Options
	o.Base = base
	return New(p.Tree, p.Host, o)
}

// Once plans the same tree so that no message brings an open file more than once. It is
// nil if that is so already, or cannot be.
func Once(p *plan.Plan) *plan.Plan {
	if !repeats(p.Options) {
		return nil
	}
	o := p.Options
	o.Once = true
	once, err := New(p.Tree, p.Host, o)
	if err != nil {
		return nil
	}
	return once
}
