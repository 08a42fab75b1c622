package restore

import (
	"errors"
	"fmt"
	"slices"

	"regrow/fdstore"
	"regrow/fdstore/wire"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// NewPlan plans the restore of a tree that [tasktree.Tree.Check] found without a
// problem. It is pure: it makes no system call.
//
// The error is a [*tasktree.InvalidError] if the description cannot be meant
// (an inherit key that nobody gave), a [*tasktree.GivenError] if a key of
// PlanOptions.Inherit names nothing, or a [*RefusedError] if the host's limits do
// not allow it.
func NewPlan(t *tasktree.Tree, host Host, o PlanOptions) (*Plan, error) {
	if t.Tasks() == nil {
		return nil, fmt.Errorf("restore: the tree was not checked")
	}
	t, err := t.Replace(o.Inherit)
	if err != nil {
		return nil, err
	}
	first, err := newPlan(t, host, o)
	_, refused := errors.AsType[*RefusedError](err)
	over := err == nil && (first.overInFlight() || first.overFlat())
	if !o.bringsAgain() || !refused && !over {
		return first, err
	}
	// Bringing files again saves calls, but it takes numbers early that a full table
	// needs for a while, and more room in the store.
	o.once = true
	once, onceErr := newPlan(t, host, o)
	if err == nil && (onceErr != nil || first.overFlat() == once.overFlat() && first.inFlight() <= once.inFlight()) {
		return first, nil
	}
	return once, onceErr
}

// bringsAgain reports whether messages may bring an open file more than once: the
// kernel installs what a message brings for a third of what a dup3 costs.
func (o PlanOptions) bringsAgain() bool {
	return o.Strategy == StrategyFDStore && !o.Naive && !o.once
}

// flatMessages is how many messages a store may have at most to be one socket.
// More cost a task more time to step over than the way through shards does, and
// an ordinary user's socket more room than it may have (fdstore, Limits).
const flatMessages = 500

// overInFlight reports whether that is more than an ordinary user may have, all
// processes together: as many as RLIMIT_NOFILE allows, which the runtime has raised to
// the hard limit (unix(7), ETOOMANYREFS).
func (p *Plan) overInFlight() bool { return uint64(p.inFlight()) > p.host.HardFiles }

// overFlat reports whether the store has more messages than one socket should.
func (p *Plan) overFlat() bool {
	return p.options.Strategy == StrategyFDStore && !p.options.Naive && p.layout == fdstore.Flat && p.options.layout == 0 && len(p.messages) > flatMessages
}

func newPlan(t *tasktree.Tree, host Host, o PlanOptions) (*Plan, error) {
	if o.base == 0 {
		o.base = program.DefaultBase
	}
	pl := &planner{
		plan: &Plan{
			tree: t, host: host, options: o, storeFD: -1,
			arena:  program.NewArena(o.base, len(t.Tasks())),
			tasks:  make([]program.Program, len(t.Tasks())),
			extras: make([]extra, 1),
			words:  map[wire.Word]fdstore.ID{}, slotsOf: map[fileEnd]int32{},
		},
		messageIDs: map[string]fdstore.ID{},
		scratch:    newScratch(t),
		extraIDs:   map[string]int32{},
		readyPaths: map[string]string{},
	}
	if err := pl.inherited(); err != nil {
		return nil, err
	}
	pl.place()
	if err := pl.checkNumbers(); err != nil {
		return nil, err
	}
	pl.makeStored()
	if err := pl.checkRunner(); err != nil {
		return nil, err
	}
	pl.lend()
	pl.meetings()
	pids := pl.exactPIDs()
	pl.exact = slices.ContainsFunc(pids, func(pid int32) bool { return pid != 0 })
	pl.plan.rootClone = pl.clone(t.Root, pids[0])
	pl.plan.forkHints = pl.forkHint()
	for _, task := range t.Tasks() {
		tp := newTaskPlanner(pl, task, pids)
		if err := tp.plan(); err != nil {
			return nil, err
		}
		pl.plan.tasks[task.Index] = tp.result()
		if task.Holds() {
			pl.plan.held++
		}
	}
	pl.addMessages()
	pl.plan.arena.Forget()
	return pl.plan, nil
}

// rebased plans the same tree for an arena at another place.
func (p *Plan) rebased(base uint64) (*Plan, error) {
	o := p.options
	o.base = base
	return NewPlan(p.tree, p.host, o)
}
