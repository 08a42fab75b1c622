package restore

import (
	"context"
	"io"

	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/prepare"
	"regrow/restore/internal/report"
	"regrow/restore/internal/runner"
	"regrow/restore/internal/show"
	"regrow/tasktree"
)

// What a plan is made of, and the errors.
type (
	// Host is what a plan has to know of the process that will restore it: the
	// caller's limits (SoftFiles, HardFiles), ignored signals (Ignored, bit N-1 for
	// signal N), Environ, Cwd, effective UID and GID, what a sandbox refuses (OldOpen:
	// openat2, OldClone: clone3), whether its pipes are limited (PipesLimited),
	// whether memory files know the seal F_SEAL_EXEC (ExecSealed), and how many
	// Processors the tasks may use.
	Host = plan.Host
	// Strategy says how open files that the runner makes get into the tables of the tasks.
	Strategy = plan.Strategy

	// RefusedError says that a valid description cannot be restored under the limits of
	// this host. Nothing was started.
	RefusedError = plan.RefusedError
	// HostError says that the kernel, or the privileges of the caller, lack what the
	// description needs: Lacks. Nothing was started.
	HostError = plan.HostError
	// OpError says which step of a restore failed: for whom, for which descriptor, which
	// call, and why (Source, Pos, Task, PID, What, Call, Reason, Err). The tree has been
	// ended and nothing of it is left.
	OpError = plan.OpError
	// ProgramError says that the program of a task is not there (NotFound) or cannot be
	// executed.
	ProgramError = plan.ProgramError
	// PathsError has everything that a description names and that cannot be used.
	PathsError = plan.PathsError
)

// What is known of a plan before it runs, as programs read it.
type (
	// Prediction is what a plan will do to descriptor tables, found by running it
	// against a model of them. Nothing was started for it.
	Prediction = model.Prediction
	// Picture is a plan in a form for programs: what [Plan.WriteJSON] writes.
	Picture = show.Picture
)

// ThisHost reads the attributes of the calling process. With an error, which is that
// /proc cannot be read, only Ignored is missing.
func ThisHost() (Host, error) { return host.ThisHost() }

// CheckHost finds everything that a checked tree needs and this kernel, these
// privileges or these limits lack: a [*HostError], or nil. It exercises the calls
// and leaves nothing behind. What a path or a program can make fail is for
// [Plan.CheckPaths]; what another process can, is not looked at. [Start] does the same first.
//
// Safe for several goroutines. Needs Linux 5.10 for all of it, and says what an
// older one lacks.
func CheckHost(t *tasktree.Tree, h Host) error { return host.CheckHost(t, h) }

// A restore under way, and its tree.
type (
	// Progress is how far a restore is.
	Progress = runner.Progress
	// Status is how the root of a tree has ended: Code, or Signal if that is not 0.
	// ExitStatus gives what a shell would show.
	Status = runner.Status
	// Report says what was restored; its JSON form is fixed. Tasks, Store, Elapsed,
	// Replaced, and Unseen: what the kernel did not tell.
	Report = report.Report
	// View is a tree at the commit point, when every task is ready: PIDs of the tasks,
	// Failed ops of a naive plan, and Files, this process's descriptors by name.
	View = plan.View
)

// Init lets this program be started again as the process that [StrategyService] keeps
// open files in. A program that plans with this strategy calls it first of all in main;
// where it is that process, it does not return.
func Init() { prepare.Init() }

// Children lists the children of the calling process, or nothing where /proc is
// not its own. A process that has children when it calls [Start] cannot tell all
// orphans of the tree from theirs, see [Options.Alone].
func Children() (pids []int) { return proc.OwnChildren() }

// The strategies. Each has a careful form, which places its own descriptors so that none
// is ever in the way, and a naive one ([PlanOptions].Naive).
const (
	// StrategyFDStore keeps the files in a socket, from which each task pulls what it
	// needs: package fdstore.
	StrategyFDStore = plan.StrategyFDStore
	// StrategyService keeps the files in a process of its own, which each task asks for
	// what it needs. The program that restores calls [Init] first of all in main.
	StrategyService = plan.StrategyService
	// StrategyInherit has no store: the root gets every open file before it forks, all
	// tasks inherit all of them and close what they do not need.
	StrategyInherit = plan.StrategyInherit
)

// Strategies lists all strategies, the default first.
func Strategies() []Strategy { return plan.Strategies() }

// ParseStrategy is the inverse of Strategy.String. The error says which names there
// are, and which one was probably meant.
func ParseStrategy(name string) (Strategy, error) { return plan.ParseStrategy(name) }

// Errors that are told by [errors.Is].
var (
	// ErrTimeout says that the tree was not released in time: by [Start].
	ErrTimeout = plan.ErrTimeout
	// ErrCanceled says that the context ended before release.
	ErrCanceled = plan.ErrCanceled
	// ErrTaskDied says that a task, or a helper of one, was killed from outside
	// before release.
	ErrTaskDied = plan.ErrTaskDied
	// ErrAnotherProcess says that a path of the description would mean another file,
	// folder or program for each process that opens it: its way goes through a magic
	// link of procfs, or it is a process's own entry there, or the controlling terminal.
	ErrAnotherProcess = plan.ErrAnotherProcess
)

// Plan is everything that restoring a tree will do, decided beforehand. It can be
// verified, printed and compared without running anything. It is not changed any more
// once made, and may be started once at a time.
type Plan struct{ plan *plan.Plan }

// NewPlan plans the restore of a tree that [tasktree.Tree.Check] found without a
// problem. It is pure: it makes no system call.
//
// The error is a [*tasktree.InvalidError] if the description cannot be meant
// (an inherit key that nobody gave), a [*tasktree.GivenError] if a key of
// PlanOptions.Inherit names nothing, or a [*RefusedError] if the host's limits do
// not allow it.
func NewPlan(t *tasktree.Tree, host Host, o PlanOptions) (*Plan, error) {
	p, err := planner.New(t, host, o.inner())
	if err != nil {
		return nil, err
	}
	return &Plan{p}, nil
}

// Tree gives the tree that the plan restores: that of the description, or with
// PlanOptions.Inherit a copy in which open files are replaced.
func (p *Plan) Tree() *tasktree.Tree { return p.plan.Tree }

// StoreFD gives the number at which the root and the tasks it forks hold the
// store until it is moved or closed, or -1 if no open file goes through a store.
func (p *Plan) StoreFD() int { return p.plan.StoreFD }

// Messages gives the number of messages that the store will hold.
func (p *Plan) Messages() int { return len(p.plan.Messages) }

// OpenFiles gives the number of open files that will be made once and put in
// the store.
func (p *Plan) OpenFiles() int { return p.plan.OpenFiles() }

// Verify runs the plan against a model of descriptor tables: every op by the
// kernel's rules, every demanded number, and at the end each table against the
// description. An error means that the planner has a bug. What a naive plan
// loses is no error; see [Plan.Predict].
func (p *Plan) Verify() error { return model.Verify(p.plan) }

// Predict runs the plan against the model of descriptor tables. It is pure. An
// error means that the planner has a bug.
func (p *Plan) Predict() (*Prediction, error) { return model.Predict(p.plan) }

// WriteText writes the plan as a picture for people: for each task its ops, what
// they are for, the description's line, and the descriptors that each changes;
// below them the table in the end.
func (p *Plan) WriteText(w io.Writer) error { return show.WriteText(p.plan, w) }

// WriteJSON writes the plan as one JSON object, a [Picture].
func (p *Plan) WriteJSON(w io.Writer) error { return show.WriteJSON(p.plan, w) }

// Picture gives the plan for programs, with the tables of the model.
func (p *Plan) Picture() (*Picture, error) { return show.NewPicture(p.plan) }

// CheckPaths finds every path, folder and program of the plan that restoring it would not
// find, may not open, or refuses: a [*HostError] with all of them, or nil. It opens
// paths as mere places (O_PATH) and changes nothing. What it cannot tell beforehand it
// does not report: it says nothing of a file that an earlier entry of the description
// creates, nor of the rights that tasks have in a user namespace of their own.
//
// Safe for several goroutines.
func (p *Plan) CheckPaths() error { return host.CheckPaths(p.plan) }

// joined is what the runner is handed of the other rooms.
var joined = runner.Joined{Verify: model.Verify, Rebase: planner.Rebased, Once: planner.Once}

// Start carries a plan out. It returns when every task holds or has begun its
// program, or with an error when nothing of the tree is left.
//
//	here:   open shared files ─▶ fill the store ─▶ clone the root ─▶ wait ─▶ release
//	                                                    │             ▲
//	tasks:                              fork children, pull, open, install ─▶ hold or exec
//
// Release is the commit point: until then a failure, a signal or the death of this
// process leaves no task behind.
//
// The end of the context before release ends the restore; after it Start only
// returns sooner, before every task holds or has begun its program.
//
// The error is a [*HostError] (nothing was started), an [*OpError], a [*ProgramError], a
// [*PathsError] with several of these, or wraps [ErrTimeout], [ErrCanceled] (with the
// context's cause) or [ErrTaskDied].
//
// The caller owns the [Tree] and must end it by [Tree.Wait], [Tree.End] or
// [Tree.Detach]. The process becomes a child subreaper until then (prctl(2)),
// so that orphans of the tree come to it. C code of the process must not fork while
// Start runs; forks of Go wait. Needs Linux 5.10 and /proc.
func Start(ctx context.Context, p *Plan, o Options) (*Tree, error) {
	tree, err := runner.Start(ctx, p.plan, o.inner(), joined)
	if err != nil {
		return nil, err
	}
	return &Tree{tree}, nil
}

// Rehearse carries the plan out up to the commit point, when every task is ready, calls
// during, and ends the tree: no program runs, no file is cut, what was made is removed.
// The tree never is without this process: whatever ends it, the tasks end, too.
//
// during may look at the tree by what it gets, and start or rehearse another plan; it runs
// in a goroutine of its own. What each descriptor really is, package images/live reads
// (kcmp(2)), to be held against what was predicted: [Prediction].Disagree.
//
// Errors are those of [Start], and that of during. A failed op of a naive plan is none.
func (p *Plan) Rehearse(ctx context.Context, o Options, during func(View) error) error {
	return runner.Rehearse(ctx, p.plan, o.inner(), joined, during)
}
