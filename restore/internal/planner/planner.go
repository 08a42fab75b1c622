package planner

import (
	"errors"
	"fmt"
	"slices"

	"regrow/fdstore"
	"regrow/fdstore/wire"
	"regrow/restore/internal/assign"
	"regrow/restore/internal/bench"
	"regrow/restore/internal/limits"
	"regrow/restore/internal/lookup"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// New plans the restore of a tree that [tasktree.Tree.Check] found without a
// problem. It is pure: it makes no system call.
//
// The error is a [*tasktree.InvalidError] if the description cannot be carried out (an
// inherit key that nobody gave), a [*tasktree.GivenError] if a key of PlanOptions.Inherit
// names nothing, or a [*plan.RefusedError] if the host's limits do not allow it.
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
	over := err == nil && (limits.OverInFlight(first) || assign.OverFlat(first))
	if !assign.Repeats(o) || !refused && !over {
		return first, err
	}
	// Bringing files again saves calls, but it takes numbers early that a full table
	// needs for a while, and more room in the store.
	o.Once = true
	once, onceErr := newPlan(t, host, o)
	if err == nil && (onceErr != nil || assign.OverFlat(first) == assign.OverFlat(once) && first.InFlight() <= once.InFlight()) {
		return first, nil
	}
	return once, onceErr
}

// Rebased plans the same tree for an arena at the next place.
func Rebased(p *plan.Plan) (*plan.Plan, error) {
	o := p.Options
	o.Place++
	return New(p.Tree, p.Host, o)
}

// Once plans the same tree so that no message brings an open file more than once. The
// result is nil if the plan does not do that anyway, or cannot avoid it.
func Once(p *plan.Plan) *plan.Plan {
	if !assign.Repeats(p.Options) {
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

// planner is the state of New while it works.
type planner struct {
	plan         *plan.Plan
	stored       []bool // by file index: comes through the store
	earlyLimit   bool   // the root sets RLIMIT_NOFILE for all, before it forks
	exact        bool   // a task has an exact pid
	callerFDs    map[string]int
	steps        *assign.Steps                      // of attributes
	meets        map[*tasktree.Task]*assign.Meeting // by owner of the table
	messageIDs   map[string]fdstore.ID              // by content
	extras       plan.Extras
	numberHint   int32 // the extra of ops whose number could be too high, 0: not yet made
	forkHints    int32 // the same for forks
	serviceHints int32 // the same for requests to a service
	scratch      scratch
	programs     lookup.Programs
	highest      uint64 // number that a task can need
	spares       *bench.Spares
}

// newPlan plans a tree as the options say.
func newPlan(t *tasktree.Tree, host plan.Host, o plan.Options) (*plan.Plan, error) {
	pl := &planner{
		plan: &plan.Plan{
			Tree: t, Host: host, Options: o, StoreFD: -1,
			Tasks:  make([]program.Program, len(t.Tasks())),
			Extras: make([]plan.Extra, 1),
			Words:  map[wire.Word]fdstore.ID{}, SlotsOf: map[plan.FileEnd]int32{},
		},
		messageIDs: map[string]fdstore.ID{},
	}
	pids := assign.PIDs(t)
	pl.exact = slices.ContainsFunc(pids, func(pid int32) bool { return pid != 0 })
	pl.plan.Arena = program.NewArena(o.Start(), len(t.Tasks())+assign.AllHelpers(pl.plan, pl.exact))
	pl.programs = lookup.For(pl.plan)
	var err error
	if pl.callerFDs, err = assign.CallerFDs(pl.plan); err != nil {
		return nil, err
	}
	pl.place()
	pl.scratch.prepare(pl.plan, pl.stored)
	if pl.highest, err = limits.Numbers(pl.plan); err != nil {
		return nil, err
	}
	pl.earlyLimit = pl.highest < host.SoftFiles
	pl.plan.ForkHints = pl.forkHint()
	if err := pl.makeStored(); err != nil {
		return nil, err
	}
	if err := limits.Runner(pl.plan); err != nil {
		return nil, err
	}
	pl.lend()
	pl.meets = assign.Meetings(pl.plan)
	pl.plan.RootClone = pl.clone(t.Root, pids[0])
	if pl.steps, err = assign.StepsOf(pl.plan); err != nil {
		return nil, err
	}
	for _, task := range t.Tasks() {
		tp := newTaskPlanner(pl, task, pids)
		if err := tp.plan(); err != nil {
			return nil, err
		}
		pl.plan.Tasks[task.Index] = tp.result()
	}
	pl.addMessages()
	if len(pl.plan.Benches) > 0 {
		pl.plan.SlotsAt = pl.plan.Arena.Words(make([]uint64, pl.plan.Slots))
	}
	pl.plan.Arena.Forget()
	return pl.plan, pl.plan.CheckArena()
}

// place decides where the open files are while tasks are restored: with the store at a
// number of its own, or each at one in the root.
func (pl *planner) place() {
	p := pl.plan
	pl.stored = assign.Stored(p)
	p.Layout = assign.Layout(p, pl.stored)
	if !slices.Contains(pl.stored, true) {
		return
	}
	switch o := p.Options; {
	case o.Strategy == plan.StrategyInherit:
		p.Lent = assign.Lent(p)
	case o.ServiceFD != nil:
		p.StoreFD = *o.ServiceFD
	case o.Naive:
		p.StoreFD = 0
	default:
		p.StoreFD = assign.StoreNumber(p)
	}
}

// extra gives the index of an extra.
func (pl *planner) extra(e plan.Extra) int32 { return pl.extras.Index(pl.plan, e) }
