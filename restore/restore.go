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

// The input of a plan, and errors.
type (
	// Host is what a plan must know about the process that will carry it out: the
	// caller's limits (SoftFiles, HardFiles), its ignored signals (Ignored, bit N-1 for
	// signal N), Environ, Cwd, effective UID and GID, what a sandbox refuses (OldOpen:
	// openat2, OldClone: clone3), whether its pipes are limited (PipesLimited), whether
	// memory files have the seal F_SEAL_EXEC (ExecSealed), and how many Processors the
	// tasks may use.
	Host = plan.Host
	// Strategy is how open files that the runner makes get into the tables of the tasks.
	Strategy = plan.Strategy

	// RefusedError reports that a valid description cannot be restored under the limits
	// of this host. Nothing was started.
	RefusedError = plan.RefusedError
	// HostError lists what the description needs and the kernel or the caller's
	// privileges lack (Lacks). Nothing was started.
	HostError = plan.HostError
	// OpError reports the failed step of a restore: the task, the descriptor, the call
	// and the reason (Source, Pos, Task, PID, What, Call, Reason, Err). The tree has been
	// ended and nothing of it is left.
	OpError = plan.OpError
	// ProgramError reports that the program of a task is not there (NotFound) or cannot
	// be executed.
	ProgramError = plan.ProgramError
	// PathsError lists all paths and programs of a description that cannot be used.
	PathsError = plan.PathsError
)

// What is known about a plan before it runs.
type (
	// Prediction is what a plan will do to descriptor tables. It is found by running the
	// plan on a model of them.
	Prediction = model.Prediction
	// Picture is a plan in a form for programs, as [Plan.WriteJSON] writes it.
	Picture = show.Picture
)

// ThisHost reads the attributes of the calling process. It fails only if it cannot read
// /proc; then only Ignored is missing.
func ThisHost() (Host, error) { return host.ThisHost() }

// CheckHost finds everything that a checked tree needs and that this kernel, these
// privileges or these limits lack. It returns a [*HostError] or nil. It tries system
// calls and leaves nothing behind. It does not check paths and programs
// ([Plan.CheckPaths] does), or anything that depends on other processes. [Start] runs
// the same checks first.
//
// Safe for several goroutines. An older kernel than Linux 5.10 lacks something, which
// is then reported.
func CheckHost(t *tasktree.Tree, h Host) error { return host.CheckHost(t, h) }

// A restore in progress, and its tree.
type (
	// Progress is the progress of a restore.
	Progress = runner.Progress
	// Status is how the root of a tree has ended: Code, or Signal if that is not 0.
	// ExitStatus returns the status that a shell would show.
	Status = runner.Status
	// Report is the result of a restore; its JSON form is fixed. It has Tasks, Store,
	// Elapsed, Replaced, and Unseen: what the kernel did not show.
	Report = report.Report
	// View is a tree at the commit point, when every task is ready: PIDs of the tasks,
	// Failed ops of a naive plan, and Files, this process's descriptors by name.
	View = plan.View
)

// Init must be called first in main by a program that plans with [StrategyService]. That
// strategy starts the program again as the process that keeps the open files; in that
// process Init does not return.
func Init() { prepare.Init() }

// Children lists the children of the calling process, or nothing if /proc belongs to
// another pid namespace. A process that has children when it calls [Start] cannot
// distinguish all orphans of the tree from them, see [Options.Alone].
func Children() (pids []int) { return proc.OwnChildren() }

// The strategies. Each has a careful form, whose helpers never collide with a descriptor of
// the tree, and a naive form ([PlanOptions].Naive).
const (
	// StrategyFDStore keeps the files in a socket, from which each task pulls the files
	// that it needs: package fdstore.
	StrategyFDStore = plan.StrategyFDStore
	// StrategyService keeps the files in a process of its own, which sends each task the
	// files that it needs. The program that restores must call [Init] first in main.
	StrategyService = plan.StrategyService
	// StrategyInherit has no store: the root gets every open file before it forks. All
	// tasks inherit all of them and close those that they do not need.
	StrategyInherit = plan.StrategyInherit
)

// Strategies lists all strategies, the default first.
func Strategies() []Strategy { return plan.Strategies() }

// ParseStrategy is the inverse of Strategy.String. The error lists the valid names and the
// one that was probably meant.
func ParseStrategy(name string) (Strategy, error) { return plan.ParseStrategy(name) }

// Errors to be compared with [errors.Is].
var (
	// ErrTimeout reports that [Start] has not released the tree in time.
	ErrTimeout = plan.ErrTimeout
	// ErrCanceled reports that the context ended before release.
	ErrCanceled = plan.ErrCanceled
	// ErrTaskDied reports that a task, or a fork helper, was killed from outside before
	// release.
	ErrTaskDied = plan.ErrTaskDied
	// ErrAnotherProcess reports that a path of the description would mean another file,
	// folder or program in each process that opens it: it leads through a magic link of
	// procfs, to a process's own entry there, or to the controlling terminal.
	ErrAnotherProcess = plan.ErrAnotherProcess
)

// Plan is everything that restoring a tree will do. It can be verified, printed and compared
// without running anything. It does not change once made, and may be started by one caller at
// a time.
type Plan struct{ plan *plan.Plan }

// NewPlan plans the restore of a tree that has passed [tasktree.Tree.Check]. It is
// pure: it makes no system call.
//
// The error is a [*tasktree.InvalidError] if the tree inherits a key that is not in
// PlanOptions.Inherit, a [*tasktree.GivenError] if a key of PlanOptions.Inherit stands
// for nothing, or a [*RefusedError] if the host's limits do not allow the tree.
func NewPlan(t *tasktree.Tree, host Host, o PlanOptions) (*Plan, error) {
	p, err := planner.New(t, host, o.inner())
	if err != nil {
		return nil, err
	}
	return &Plan{p}, nil
}

// Tree returns the tree that the plan restores: that of the description, or with
// PlanOptions.Inherit a copy in which open files are replaced.
func (p *Plan) Tree() *tasktree.Tree { return p.plan.Tree }

// StoreFD returns the number of the store in the root, and in each task until the task moves
// or closes it. It is -1 if no open file goes through a store.
func (p *Plan) StoreFD() int { return p.plan.StoreFD }

// Messages returns the number of messages in the store.
func (p *Plan) Messages() int { return len(p.plan.Messages) }

// OpenFiles returns the number of open files that are made once and put into the store.
func (p *Plan) OpenFiles() int { return p.plan.OpenFiles() }

// Verify runs the plan on a model of descriptor tables and checks every op by the kernel's
// rules, every planned number, and each final table against the description. An error means
// that the planner has a bug. Losses of a naive plan are not errors, see [Plan.Predict].
func (p *Plan) Verify() error { return model.Verify(p.plan) }

// Predict runs the plan on the model of descriptor tables. It is pure. An error means that
// the planner has a bug.
func (p *Plan) Predict() (*Prediction, error) { return model.Predict(p.plan) }

// WriteText writes the plan for people: for each task its ops, the purpose and the line of
// each, the descriptors that it changes, and the final table.
func (p *Plan) WriteText(w io.Writer) error { return show.WriteText(p.plan, w) }

// WriteJSON writes the plan as one JSON object, a [Picture].
func (p *Plan) WriteJSON(w io.Writer) error { return show.WriteJSON(p.plan, w) }

// Picture returns the plan for programs, with the tables of the model.
func (p *Plan) Picture() (*Picture, error) { return show.NewPicture(p.plan) }

// CheckPaths finds every path, folder and program of the plan that is missing, may not
// be opened or is refused. It returns a [*HostError] with all of them, or nil. It opens
// paths with O_PATH only and changes nothing. It does not report what it cannot know: a
// file that an earlier entry of the description creates, and the rights that tasks have
// in a user namespace of their own.
//
// Safe for several goroutines.
func (p *Plan) CheckPaths() error { return host.CheckPaths(p.plan) }

// joined are the functions of other packages that the runner needs.
var joined = runner.Joined{Verify: model.Verify, Rebase: planner.Rebased, Once: planner.Once}

// Start carries a plan out. It returns when every task holds or has begun its program,
// or with an error when nothing of the tree is left.
//
//	here:   open shared files ─▶ fill the store ─▶ clone the root ─▶ wait ─▶ release
//	                                                    │             ▲
//	tasks:                              fork children, pull, open, install ─▶ hold or exec
//
// Release is the commit point: before it, a failure, a signal or the death of this
// process leaves no task behind.
//
// If the context ends before release, the restore ends. If it ends after release, Start
// returns earlier, before every task holds or has begun its program.
//
// The error is a [*HostError] (nothing was started), an [*OpError], a [*ProgramError],
// a [*PathsError] with several of these, or wraps [ErrTimeout], [ErrCanceled] (with the
// context's cause) or [ErrTaskDied].
//
// The caller owns the [Tree] and must end it by [Tree.Wait], [Tree.End] or
// [Tree.Detach]. Until then the process is a child subreaper (prctl(2)), so that
// orphans of the tree become its children. C code of the process must not fork while
// Start runs; forks by Go wait. Needs Linux 5.10 and /proc.
func Start(ctx context.Context, p *Plan, o Options) (*Tree, error) {
	tree, err := runner.Start(ctx, p.plan, o.inner(), joined)
	if err != nil {
		return nil, err
	}
	return &Tree{tree}, nil
}

// Rehearse carries the plan out up to the commit point, when every task is ready, calls
// during, and ends the tree. No program runs, no file is truncated, and files that were
// made are removed. If this process dies, the tasks end.
//
// during may examine the tree, and start or rehearse another plan. It runs in a
// goroutine of its own. Package images/live reads what each descriptor really is
// (kcmp(2)); [Prediction].Disagree compares that with the prediction.
//
// Errors are those of [Start], and that of during. A failed op of a naive plan is not
// an error.
func (p *Plan) Rehearse(ctx context.Context, o Options, during func(View) error) error {
	return runner.Rehearse(ctx, p.plan, o.inner(), joined, during)
}
