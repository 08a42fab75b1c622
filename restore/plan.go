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

// PlanOptions says how a tree is to be planned. The zero value works.
type PlanOptions struct {
	// Inherit gives the caller's descriptors that the tree may take over, by
	// key: that of an inherit, or the name of an open file, whose place the
	// descriptor takes ([tasktree.Tree.Replace]). stdin, stdout and stderr are
	// there without being named. Default: no others.
	Inherit map[string]int

	// WithoutStdin refuses descriptor 0 of the caller: the description came
	// from there. Default: false.
	WithoutStdin bool

	// Detach gives the root task a session and a process group of its own.
	// Default: false.
	Detach bool

	// Strategy is how open files get into the tables of the tasks. Default:
	// [StrategyFDStore].
	Strategy Strategy

	// Naive plans as restorers did that ran into conflicts: helper descriptors
	// at the lowest number, descriptors installed in the order listed over
	// whatever is there. What goes wrong then is part of the plan, see
	// [Plan.Predict]; a failed op is noted and the task goes on. Default: false.
	Naive bool

	// ServiceFD is where the descriptor of the store sits while tasks are
	// restored: a careful plan moves it away in tasks that need the number, a
	// naive one does not. It means nothing to [StrategyInherit]. Default: nil,
	// the planner chooses.
	ServiceFD *int

	base   uint64         // where the arena lies; 0: program.DefaultBase
	layout fdstore.Layout // of the store, for tests; 0: by the number of messages
	once   bool           // no message brings an open file more than once
	help   int            // helpers of each task that forks more children than that, for tests; 0: by what pays
}

// Plan is everything that restoring a tree will do, decided beforehand. It is
// data: it can be verified, printed and compared without running anything. A
// plan is not changed any more once made, and may be started once at a time.
type Plan struct {
	tree      *tasktree.Tree
	host      Host
	options   PlanOptions
	arena     *program.Arena
	prepare   program.Program   // the runner's, before the first clone
	commit    program.Program   // the runner's, at the commit point
	tasks     []program.Program // in the order of Tree.Tasks
	layout    fdstore.Layout    // of the store
	messages  [][]fileEnd       // what each message of the store holds
	words     map[wire.Word]fdstore.ID
	extras    []extra
	slots     int // results that the runner keeps
	storeFD   int // the store's number in the root and in what it forks, -1: there is no store
	lent      []lent
	slotsOf   map[fileEnd]int32 // of each open file that the runner makes
	held      int               // tasks without a program
	tasksLook bool              // tasks open paths that must be safe, so they need to know where a procfs is
	faulty    bool              // a test makes an op fail, which the model would refuse

	rootClone uint64 // address of the root's clone_args
	forkHints int32  // index of an extra
}

// lent is an open file that the root takes over from the runner, for all tasks.
type lent struct {
	fileEnd
	number int    // in the root and in what it forks
	cell   uint64 // address of the number that it has in the runner
}

// flatMessages is how many messages a store may have at most to be one socket.
// More cost a task more time to step over than the way through shards does, and
// an ordinary user's socket more room than it may have (fdstore, Limits).
const flatMessages = 500

// messageOf gives the message that an OpPull takes: an index into Plan.messages,
// or -1 if it takes a socket of the store.
func (p *Plan) messageOf(op *program.Op) int {
	if id, ok := p.words[wire.Word(op.Args[1])]; ok {
		return int(id)
	}
	return -1
}

// fileEnd is one open file of the description: one end of one entry.
type fileEnd struct {
	file, end int32
}

// extra is what messages say of an op beyond its note.
type extra struct {
	name  string // of the call
	short string // message for ReasonUnwanted
	hints []tasktree.Hint
	path  string // that the call opens
}

// Tree gives the tree that the plan restores: that of the description, or with
// PlanOptions.Inherit a copy in which open files are replaced.
func (p *Plan) Tree() *tasktree.Tree { return p.tree }

// StoreFD gives the number at which the root and the tasks it forks hold the
// store until it is moved or closed, or -1 if no open file goes through a store.
func (p *Plan) StoreFD() int { return p.storeFD }

// Messages gives the number of messages that the store will hold.
func (p *Plan) Messages() int { return len(p.messages) }

// OpenFiles gives the number of open files that will be made once and put in
// the store.
func (p *Plan) OpenFiles() int {
	seen := map[fileEnd]bool{}
	for _, m := range p.messages {
		for _, fe := range m {
			seen[fe] = true
		}
	}
	return len(seen)
}

// RefusedError says that a valid description cannot be restored under the
// limits of this host. Nothing was started.
type RefusedError struct {
	Source string
	Pos    tasktree.Pos
	Msg    string
}

// Error gives "SOURCE:LINE:COL: restore: MESSAGE".
func (e *RefusedError) Error() string {
	return tasktree.At(e.Source, e.Pos) + ": restore: " + e.Msg
}

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
	plan, err := newPlan(t, host, o)
	_, refused := errors.AsType[*RefusedError](err)
	over := err == nil && (plan.overInFlight() || plan.overFlat())
	if !o.bringsAgain() || !refused && !over {
		return plan, err
	}
	// Bringing files again saves calls, but it takes numbers early that a full table
	// needs for a while, and more room in the store.
	o.once = true
	once, onceErr := newPlan(t, host, o)
	if err == nil && (onceErr != nil || plan.overFlat() == once.overFlat() && plan.inFlight() <= once.inFlight()) {
		return plan, nil
	}
	return once, onceErr
}

// bringsAgain reports whether messages may bring an open file more than once: the
// kernel installs what a message brings for a third of what a dup3 costs.
func (o PlanOptions) bringsAgain() bool {
	return o.Strategy == StrategyFDStore && !o.Naive && !o.once
}

// inFlight gives how many open files lie in the store.
func (p *Plan) inFlight() int {
	n := 0
	for _, m := range p.messages {
		n += len(m)
	}
	return n
}

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
