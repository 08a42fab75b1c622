package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/memory"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/prepare"
	"regrow/restore/internal/safepath"
	"regrow/restore/internal/trace"
	"regrow/tasktree"
)

// Options says how a plan is to be carried out. The zero value works.
type Options struct {
	// Timeout bounds the time until release. Default: no bound.
	Timeout time.Duration

	// Began is when Timeout begins to count. Default: the call of Start.
	Began time.Time

	// Log gets stage changes (Info) and each pull and install (Debug, with
	// the fields task, pid, fd, file), and if tasks must keep memory of the C
	// library, why (Debug). Default: nothing is logged.
	Log logrus.FieldLogger

	// Progress is told how far the restore is, 20 times a second from the first
	// clone on, by one goroutine. The release waits for the call that says Over.
	// Default: nobody is told.
	Progress func(Progress)

	// Trace gets, when the tree is released or the restore has failed, what
	// regrow and each task did when, as Chrome trace events (JSON). Default:
	// nothing is traced, and tasks do not look at the clock.
	Trace io.Writer

	// Alone says that this program has no children when it calls Start, and starts
	// none before the tree has ended: then every child that it comes to have is the
	// tree's, and ends with it. Default: only the tasks are the tree's, with what is
	// found below them; what its programs leave as orphans (daemons) may outlive it.
	Alone bool

	// Ready is called when every task is ready, and the restore ends there: no program
	// runs, no file is cut, and Start returns no tree. It runs while this process owns
	// the gate, so it must not start a restore; see [Rehearse]. Default: the tree is
	// released.
	Ready func(plan.View) error
}

// Joined is what a runner needs of the planner and the model. Whoever joins the three hands
// it over.
type Joined struct {
	// Verify gives an error for a plan that the model does not accept.
	Verify func(*plan.Plan) error
	// Rebase plans the same tree for an arena at the next place.
	Rebase func(p *plan.Plan) (*plan.Plan, error)
	// Once plans the same tree so that no message brings an open file more than
	// once: nil if it does not already.
	Once func(p *plan.Plan) *plan.Plan
}

// run is one restore, the order of its steps. Its parts do the work.
type run struct {
	loaded // the plan, and its arena

	joined   Joined
	options  Options
	log      logrus.FieldLogger
	trace    *trace.Trace // nil if nobody asked for one
	opener   *safepath.Opener
	undo     *prepare.Undo
	files    *prepare.Files // nil before the arena is mapped
	family   *family
	root     root
	progress *reporter // nil before the clone, or if nobody asked for it

	stuck    <-chan error // from an op of prepare that has not come back, nil: there is none
	short    bool         // of a store, of room in it, or of a number in the table, before the clone
	deadline time.Time    // of the release, if Options.Timeout is set
	started  time.Time
	elapsed  time.Duration
}

// starting lets one restore of this process at a time go from clone to release:
// the robust list belongs to a thread, the subreaper to the process.
var starting sync.Mutex

// Start carries a plan out. It returns when every task holds or has begun its program, or
// with an error when nothing of the tree is left; of the errors see package restore. The
// caller owns the [Tree]. One restore of a process at a time goes from here to release;
// others wait.
func Start(ctx context.Context, p *plan.Plan, o Options, by Joined) (tree *Tree, err error) {
	starting.Lock()
	defer starting.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	memory.OnThread(func() { tree, err = start(ctx, p, o, by) })
	return tree, err
}

// start is Start on a thread that the root can be cloned from.
func start(ctx context.Context, p *plan.Plan, o Options, by Joined) (*Tree, error) {
	if o.Began.IsZero() {
		o.Began = time.Now()
	}
	for again := false; ; again = true {
		r := newRun(p, o, by)
		if again {
			r.trace.Moment("planned again")
		}
		tree, err := r.attempt(ctx)
		if p = r.leaner(); p == nil {
			r.writeTrace(err)
			tree, err = r.leave(tree, err)
			if r.stuck != nil {
				return tree, err
			}
			return tree, withAllPaths(ctx, r.plan, err)
		}
		r.log.WithError(err).Info("planned again: each message brings an open file once")
		if _, left := r.leave(nil, nil); left != nil {
			return nil, errors.Join(err, left)
		}
	}
}

// writeTrace writes the trace, if there is one. The tree has been released, or
// nothing of it is left: a trace that cannot be written is no reason to fail.
func (r *run) writeTrace(failed error) {
	if r.trace == nil {
		return
	}
	if err := r.trace.Write(r.options.Trace, r.plan, r.arena, failed); err != nil {
		r.log.WithError(err).Warn("the trace could not be written")
	}
}

func newRun(p *plan.Plan, o Options, by Joined) *run {
	r := &run{loaded: loaded{plan: p}, joined: by, options: o, log: o.Log, opener: safepath.New(p.Host.OldOpen), root: root{fd: -1, namespace: p.Tree.HasNamespace(tasktree.NamespacePID)}, deadline: o.Began.Add(o.Timeout)}
	if r.log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		r.log = quiet
	}
	r.undo = prepare.NewUndo(r.log)
	if o.Trace != nil {
		r.trace = trace.New()
	}
	return r
}

// EndsWithInit says why pid 1 cannot let a tree live on ([plan.Options].Detach).
// See pid_namespaces(7).
const EndsWithInit = "the tree cannot live on: this process is pid 1 of its pid namespace, and when it returns the kernel ends all others of the namespace; " +
	"restore in the foreground (without --detach), or under an init (docker run --init)"

// attempt carries the plan out. If that fails, nothing of the tree is left.
func (r *run) attempt(ctx context.Context) (*Tree, error) {
	ask := host.ThisKernel
	room, limit := proc.PidsLeft()
	ask.Room = func() (int, string) { return room, limit }
	if lacks := host.Lacking(r.plan.Tree, r.plan.Host, ask); len(lacks) > 0 {
		return nil, &plan.HostError{Source: r.plan.Tree.Source, Lacks: lacks}
	}
	if r.plan.Options.Detach && os.Getpid() == 1 {
		return nil, &plan.HostError{Source: r.plan.Tree.Source, Lacks: []plan.Lack{{Pos: r.plan.Tree.Root.Pos, Msg: EndsWithInit}}}
	}
	if lacks := host.LinkLacks(r.plan); len(lacks) > 0 {
		plan.SortLacks(lacks)
		return nil, &plan.HostError{Source: r.plan.Tree.Source, Lacks: lacks}
	}
	if err := childrenStay(r.plan); err != nil {
		return nil, err
	}
	readyThreads(room, len(r.plan.Tasks))
	family, err := newFamily(r.options.Alone)
	if err != nil {
		return nil, err
	}
	r.family = family
	tree, err := r.start(ctx)
	r.short = r.short || !r.root.made() && lacksRoom(err)
	if err != nil || r.options.Ready != nil {
		if r.root.made() { // before the sweep: a service is a child, too
			err = errors.Join(err, r.files.CloseStore())
			r.files.CloseFDs() // the sweep reads /proc, and our table may be full
			r.end()
			trace.LogFailed(r.log, r.plan, r.arena, r.taskError)
		}
		r.undo.GiveUp()
		r.family.leave()
	}
	return tree, err
}

// childrenStay makes sure that tasks which are killed can be seen: where SIGCHLD is
// ignored the kernel waits for children itself, and the root sets it to its default
// only if the plan knows.
func childrenStay(p *plan.Plan) error {
	const bit = 1 << (unix.SIGCHLD - 1)
	ignored, err := proc.SignalMask(proc.Caller, "SigIgn")
	if err != nil || ignored&bit == 0 || p.Host.Ignored&bit != 0 {
		return nil //nolint:nilerr // whoever has no /proc has been told
	}
	return fmt.Errorf("%s: restore: SIGCHLD is ignored here, which the plan's Host does not say: call ThisHost again, and plan with that", p.Tree.Source)
}

// leaner gives the plan with which no message brings an open file more than once, if
// the store or a number in its table was all that this process could not get, and that
// plan needs less of them. Otherwise it gives nil.
func (r *run) leaner() *plan.Plan {
	if !r.short || r.root.made() || r.plan.Faulty {
		return nil
	}
	p := r.joined.Once(r.plan)
	if p == nil || p.InFlight() >= r.plan.InFlight() && p.OpenAtOnce() >= r.plan.OpenAtOnce() {
		return nil
	}
	return p
}

// lacksRoom reports whether what an attempt could not get was a number in the table, or
// room in the store.
func lacksRoom(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, fdstore.ErrInFlight) || errors.Is(err, fdstore.ErrFull)
}

// leave frees what only the restore needed, now or when a stuck op comes back.
func (r *run) leave(tree *Tree, err error) (*Tree, error) {
	if r.stuck != nil {
		go func() {
			if err := <-r.stuck; err != nil { // Start has failed already, for another reason
				r.log.Debug(err)
			}
			_ = r.free()
		}()
	} else {
		err = errors.Join(err, r.free())
	}
	if err != nil {
		return nil, err
	}
	return tree, nil
}

// free frees what only the restore needed.
func (r *run) free() (err error) {
	if r.files != nil {
		r.files.CloseFDs()
		err = r.files.CloseStore()
	}
	return errors.Join(err, r.unload())
}

func (r *run) start(ctx context.Context) (*Tree, error) {
	loaded := r.trace.Stage("load the plan")
	if err := r.load(r.joined.Rebase); err != nil {
		return nil, err
	}
	loaded()
	// No plan runs that the model has not accepted. It takes about half as long
	// as planning, beside the making of the files.
	verified := make(chan error, 1)
	go func(p *plan.Plan) {
		if p.Faulty {
			verified <- nil
			return
		}
		verified <- r.joined.Verify(p)
	}(r.plan)
	var err error
	if r.files, err = prepare.New(r.plan, r.arena, r.opener, r.undo, r.trace); err != nil {
		r.short = true
		return nil, noStore(r.plan, err)
	}
	made := r.trace.Stage("make the shared files")
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	made()
	if err := r.files.Seal(); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	r.log.WithFields(logrus.Fields{"files": r.plan.OpenFiles(), "messages": len(r.plan.Messages)}).Info("files made")
	if err := r.fillHead(r.files, r.opener); err != nil {
		return nil, err
	}
	checked := r.trace.Stage("wait for the model")
	if err := <-verified; err != nil {
		return nil, err
	}
	checked()
	return r.forkAndRelease(ctx)
}

// prepare makes the open files, fills the store and looks programs up. An open
// may block without end (a lease of another process, a dead file server), so the
// context and the timeout are looked at meanwhile.
func (r *run) prepare(ctx context.Context) error {
	prepared := make(chan error, 1)
	go func() { prepared <- r.files.Prepare() }()
	var late <-chan time.Time
	if r.options.Timeout > 0 {
		timer := time.NewTimer(time.Until(r.deadline))
		defer timer.Stop()
		late = timer.C
	}
	var err error
	select {
	case err := <-prepared:
		return err
	case <-ctx.Done():
		err = r.errorf("%w: %w", plan.ErrCanceled, context.Cause(ctx))
	case <-late:
		err = r.errorf("%w, after %v: files are still being opened", plan.ErrTimeout, r.options.Timeout)
	}
	// Most ops do come back, and what they have made by then is removed. One
	// that does not has made nothing.
	const grace = 250 * time.Millisecond
	r.undo.Stop()
	select {
	case end := <-prepared:
		r.log.Debugf("after the restore was given up: %v", end)
	case <-time.After(grace):
		r.stuck = prepared
	}
	return err
}

// noStore says why there is no store.
func noStore(p *plan.Plan, err error) error {
	for _, no := range []unix.Errno{unix.EPERM, unix.EACCES, unix.EAFNOSUPPORT} {
		if p.Options.Strategy == plan.StrategyFDStore && errors.Is(err, no) {
			return &plan.HostError{Source: p.Tree.Source, Lacks: []plan.Lack{{
				Pos: p.Tree.Root.Pos, Err: err,
				Msg: "a sandbox (a seccomp filter) refuses Unix sockets, in which open files are kept for the tasks; allow AF_UNIX there, or restore with --strategy inherit",
			}}}
		}
	}
	return fmt.Errorf("restore: %w", err)
}
