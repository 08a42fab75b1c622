package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
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
	// the fields task, pid, fd, file). Default: nothing is logged.
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

// Joined is what a runner does not know itself, and is handed: whoever joins planner,
// model and runner.
type Joined struct {
	// Verify gives an error for a plan that the model does not accept.
	Verify func(*plan.Plan) error
	// Rebase plans the same tree for an arena at another place.
	Rebase func(p *plan.Plan, base uint64) (*plan.Plan, error)
	// Once plans the same tree so that no message brings an open file more than
	// once: nil if it does not already.
	Once func(p *plan.Plan) *plan.Plan
}

// run is one restore under way.
type run struct {
	plan     *plan.Plan
	joined   Joined
	options  Options
	log      logrus.FieldLogger
	arena    *postfork.Arena
	opener   *safepath.Opener
	store    keeper // nil if no open file goes through one
	slots    []slot
	stuck    <-chan error // from an op of prepare that has not come back, nil: there is none
	lent     map[int]bool // numbers that the root fills with open files, nil: not asked for yet
	aside    int          // no number below is free and not one of lent
	gaveUp   atomic.Bool
	short    bool       // of a store, of room in it, or of a number in the table, before the clone
	mu       sync.Mutex // for made, as long as prepare runs
	made     madeFiles
	found    map[uint64]foundProgram // programs that were looked up, by address of their places
	family   *family
	root     root
	deadline time.Time // of the release, if Options.Timeout is set
	started  time.Time
	elapsed  time.Duration
	trace    *trace.Trace // nil if nobody asked for one
	progress *reporter    // nil before the clone, or if nobody asked for it
}

// slot holds a descriptor that the runner made, or borrowed from the caller.
type slot struct {
	fd       int
	open     bool
	borrowed bool
}

// starting lets one restore of this process at a time go from clone to release:
// the robust list belongs to a thread, the subreaper to the process.
var starting sync.Mutex

// Start is [Start] below the face.
func Start(ctx context.Context, p *plan.Plan, o Options, by Joined) (*Tree, error) {
	starting.Lock()
	defer starting.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

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
			return tree, r.withAllPaths(ctx, err)
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
	r := &run{plan: p, joined: by, options: o, log: o.Log, opener: safepath.New(p.Host.OldOpen), root: root{fd: -1, namespace: p.Tree.HasNamespace(tasktree.NamespacePID)}, deadline: o.Began.Add(o.Timeout)}
	if r.log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		r.log = quiet
	}
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
	room, limit := host.PidsLeft()
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
	if err := r.childrenStay(); err != nil {
		return nil, err
	}
	r.readyThreads(room)
	family, err := newFamily(r.options.Alone)
	if err != nil {
		return nil, err
	}
	r.family = family
	tree, err := r.start(ctx)
	r.short = r.short || !r.root.made() && lacksRoom(err)
	if err != nil || r.options.Ready != nil {
		if r.root.made() { // before the sweep: a service is a child, too
			err = errors.Join(err, r.closeStore())
			r.closeSlots() // the sweep reads /proc, and our table may be full
		}
		r.end()
		if r.root.made() {
			trace.LogFailed(r.log, r.plan, r.arena, r.taskError)
		}
		r.giveUp()
		r.family.leave()
	}
	return tree, err
}

// childrenStay makes sure that tasks which are killed can be seen: where SIGCHLD is
// ignored the kernel waits for children itself, and the root sets it to its default
// only if the plan knows.
func (r *run) childrenStay() error {
	const bit = 1 << (unix.SIGCHLD - 1)
	ignored, err := proc.SignalMask(proc.Caller, "SigIgn")
	if err != nil || ignored&bit == 0 || r.plan.Host.Ignored&bit != 0 {
		return nil //nolint:nilerr // whoever has no /proc has been told
	}
	return r.errorf("SIGCHLD is ignored here, which the plan's Host does not say: call ThisHost again, and plan with that")
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

// leave lets go of what only the restore needed, now or when a stuck op comes back.
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

// free lets go of what only the restore needed.
func (r *run) free() (err error) {
	r.closeSlots()
	err = r.closeStore()
	if r.arena != nil {
		err = errors.Join(err, r.arena.Unmap())
	}
	return err
}

// closeStore closes what keeps the open files, if it is still there.
func (r *run) closeStore() (err error) {
	if r.store != nil {
		err = r.store.close()
		r.store = nil
	}
	return err
}

func (r *run) start(ctx context.Context) (*Tree, error) {
	loaded := r.trace.Stage("load the plan")
	if err := r.mapArena(); err != nil {
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
	r.slots = make([]slot, r.plan.Slots)
	var err error
	if r.store, err = newKeeper(r.plan); err != nil {
		r.short = true
		return nil, r.noStore(err)
	}
	made := r.trace.Stage("make the shared files")
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	made()
	if r.store != nil {
		if err := r.store.seal(); err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
	}
	r.log.WithFields(logrus.Fields{"files": r.plan.OpenFiles(), "messages": len(r.plan.Messages)}).Info("files made")
	if err := r.fillHead(); err != nil {
		return nil, err
	}
	checked := r.trace.Stage("wait for the model")
	if err := <-verified; err != nil {
		return nil, err
	}
	checked()
	return r.forkAndRelease(ctx)
}

// noStore says why there is no store.
func (r *run) noStore(err error) error {
	for _, no := range []unix.Errno{unix.EPERM, unix.EACCES, unix.EAFNOSUPPORT} {
		if r.plan.Options.Strategy == plan.StrategyFDStore && errors.Is(err, no) {
			return &plan.HostError{Source: r.plan.Tree.Source, Lacks: []plan.Lack{{
				Pos: r.plan.Tree.Root.Pos, Err: err,
				Msg: "a sandbox (a seccomp filter) refuses Unix sockets, in which open files are kept for the tasks; allow AF_UNIX there, or restore with --strategy inherit",
			}}}
		}
	}
	return fmt.Errorf("restore: %w", err)
}

func (r *run) closeSlots() {
	for i := range r.slots {
		if s := &r.slots[i]; s.open && !s.borrowed {
			_ = unix.Close(s.fd)
			s.open = false
		}
	}
}

// errorf makes an error about the whole tree.
func (r *run) errorf(format string, args ...any) error {
	return fmt.Errorf(r.plan.Tree.Source+": restore: "+format, args...)
}
