package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
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

	observe func(*run) error // looks at the tree when it is ready, and the restore ends there
}

// run is one restore under way.
type run struct {
	plan     *Plan
	options  Options
	log      logrus.FieldLogger
	arena    *postfork.Arena
	store    keeper // nil if no open file goes through one
	slots    []slot
	stuck    <-chan error // from an op of prepare that has not come back, nil: there is none
	lent     map[int]bool // numbers that the root fills with open files, nil: not asked for yet
	gaveUp   atomic.Bool
	mu       sync.Mutex // for made, as long as prepare runs
	made     madeFiles
	family   *family
	root     int       // host pid, 0 before the clone
	rootFD   int       // its pidfd
	deadline time.Time // of the release, if Options.Timeout is set
	started  time.Time
	elapsed  time.Duration
	trace    *trace // nil if nobody asked for one
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

// Start carries a plan out. It returns when every task holds or has begun its
// program, or with an error when nothing of the tree is left.
//
// The end of the context before release ends the restore; after it Start only
// returns sooner, before every task holds or has begun its program.
//
// The error is a [*HostError] (nothing was started), an [*OpError], or wraps
// [ErrTimeout], [ErrCanceled] (with the context's cause) or [ErrTaskDied].
//
// The caller owns the [Tree] and must end it by [Tree.Wait], [Tree.End] or
// [Tree.Detach]. The process becomes a child subreaper until then (prctl(2)),
// so that orphans of the tree come to it. C code of the process must not fork while
// Start runs; forks of Go wait. Needs Linux 5.10 and /proc.
func Start(ctx context.Context, p *Plan, o Options) (*Tree, error) {
	starting.Lock()
	defer starting.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	if o.Began.IsZero() {
		o.Began = time.Now()
	}
	r := &run{plan: p, options: o, log: o.Log, rootFD: -1, deadline: o.Began.Add(o.Timeout)}
	if r.log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		r.log = quiet
	}
	if o.Trace != nil {
		r.trace = newTrace()
	}
	if err := CheckHost(p.tree, p.host); err != nil {
		r.finishTrace(err)
		return nil, err
	}
	family, err := newFamily()
	if err != nil {
		r.finishTrace(err)
		return nil, err
	}
	r.family = family
	tree, err := r.start(ctx)
	if err != nil || o.observe != nil {
		if r.root != 0 { // before the sweep: a service is a child, too
			err = errors.Join(err, r.closeStore())
		}
		r.end()
		r.giveUp()
		r.family.leave()
	}
	r.finishTrace(err)
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
	loaded := r.trace.stage("load the plan")
	if err := r.mapArena(); err != nil {
		return nil, err
	}
	loaded()
	// No plan runs that the model has not accepted. It takes about half as long
	// as planning, beside the making of the files.
	verified := make(chan error, 1)
	go func(p *Plan) {
		if p.faulty {
			verified <- nil
			return
		}
		verified <- p.Verify()
	}(r.plan)
	r.slots = make([]slot, r.plan.slots)
	var err error
	if r.store, err = newKeeper(r.plan); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	made := r.trace.stage("make the shared files")
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	made()
	if r.store != nil {
		if err := r.store.seal(); err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
	}
	r.log.WithFields(logrus.Fields{"files": r.plan.OpenFiles(), "messages": len(r.plan.messages)}).Info("files made")
	if err := r.fillHead(); err != nil {
		return nil, err
	}
	checked := r.trace.stage("wait for the model")
	if err := <-verified; err != nil {
		return nil, err
	}
	checked()
	return r.forkAndRelease(ctx)
}

// mapArena maps the arena where the plan wants it, or plans again for another
// place, and loads the plan.
func (r *run) mapArena() error {
	for try := range program.BaseTries {
		size := r.plan.arenaSize()
		arena, err := postfork.Map(r.plan.arena.Base, size)
		if errors.Is(err, unix.EEXIST) && try < program.BaseTries-1 {
			if r.plan, err = r.plan.rebased(r.plan.arena.Base + program.BaseStep); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("restore: memory for the plan: %w", err)
		}
		r.arena = arena
		break
	}
	copy(r.arena.Bytes(), r.plan.arena.Data())
	addr := r.plan.opsBase()
	for i := range r.plan.tasks {
		ops := r.plan.tasks[i].Ops
		r.arena.PutOps(addr, ops)
		rec := r.arena.Record(i)
		rec.Ops = addr
		r.initRecord(i, rec)
		addr += uint64(len(ops)) * program.OpSize
	}
	return nil
}

// initRecord makes the record a robust list: when the task ends or execs, the
// kernel marks Word and wakes the waiter of Head.Bell.
func (r *run) initRecord(task int, rec *program.Record) {
	const bellOffset = 12 // of Head.Bell
	at := r.plan.arena.Record(task)
	rec.Robust.Next = at + program.RecordNode
	rec.Robust.Offset = program.RecordWord - program.RecordNode
	rec.Robust.Pending = r.plan.arena.Base + bellOffset - rec.Robust.Offset
	rec.Node = at
}

// opsBase gives the address of the first op.
func (p *Plan) opsBase() uint64 {
	return p.arena.Base + uint64(len(p.arena.Data())+7)&^7
}

func (p *Plan) arenaSize() int {
	n := int(p.opsBase() - p.arena.Base)
	for i := range p.tasks {
		n += len(p.tasks[i].Ops) * program.OpSize
	}
	return n
}

func (r *run) fillHead() error {
	h := r.arena.Head()
	h.Left = uint32(len(r.plan.tasks))
	h.Started = uint32(r.plan.held)
	h.Poll = [2]int64{5, 0} // seconds: only for the case that two tasks die at the worst moment
	if r.store != nil {
		h.StoreFD, h.StoreNumber = uint64(r.store.fd()), r.store.number()
	}
	h.Base, h.Size = r.arena.Base, r.arena.Size()
	h.Records = r.plan.arena.Record(0)
	h.Private = r.plan.arena.Private()
	mm, err := memoryMap(h.Private)
	if err != nil {
		return err
	}
	h.MMMap = mm
	return nil
}

// forkAndRelease makes the tree, waits until it is ready, and commits.
//
//	closed ──clone──▶ tasks count down Left ──0──▶ committed ──ops──▶ open: released
//	                      │ abort, death, timeout              │ an op fails
//	                      ▼                                    ▼
//	                 tree is killed                       tree is killed
func (r *run) forkAndRelease(ctx context.Context) (*Tree, error) {
	release, err := r.arena.OwnGate()
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS):
		return nil, &HostError{r.plan.tree.Source, []Lack{{
			Pos: r.plan.tree.Root.Pos, Err: err,
			Msg: "a sandbox (a seccomp filter) refuses robust futexes, by which tasks learn that regrow was killed; allow set_robust_list and get_robust_list there",
		}}}
	case err != nil:
		return nil, fmt.Errorf("restore: %w", err)
	}
	defer release()
	maps, err := ownMaps()
	if err != nil {
		return nil, err
	}
	kept, err := keep(r.arena, maps)
	if err != nil {
		return nil, err
	}
	h := r.arena.Head()
	h.NKeep = uint32(copy(h.Keep[:], kept))

	watch := r.watch(ctx)
	defer watch.stop()
	r.started = time.Now()
	restored := r.trace.stage("restore the tasks")
	if err := r.spawn(maps); err != nil {
		return nil, err
	}
	watch.rootFD(r.rootFD)
	progress := r.reportProgress()
	defer progress.stop()
	if err := r.await(watch, &h.Left); err != nil {
		return nil, err
	}
	if r.options.observe != nil {
		return nil, r.options.observe(r)
	}
	if err := r.noteFailure(); err != nil {
		return nil, err
	}
	if err := r.checkCommit(); err != nil {
		return nil, err
	}
	if !watch.released() {
		return nil, r.failure(watch)
	}
	if err := r.carryOut(&r.plan.commit); err != nil {
		return nil, err
	}
	if r.plan.held < len(r.plan.tasks) {
		progress.stop()
	}
	postfork.Store(&h.Gate, program.GateOpen)
	restored()
	r.trace.moment("released")
	postfork.Wake(&h.Gate)
	r.elapsed = time.Since(r.started)
	r.log.WithFields(logrus.Fields{"tasks": len(r.plan.tasks), "elapsed": r.elapsed}).Info("released")
	if err := r.awaitPrograms(watch); err != nil {
		return nil, err
	}
	r.logOps()
	return r.tree()
}

func (r *run) spawn(maps []mapping) error {
	root := r.plan.tree.Root
	pid, err := r.arena.Spawn(r.plan.rootClone, postfork.SpawnOptions{
		OldClone: r.plan.host.OldClone,
		Trace:    r.trace != nil,
		Heap:     heap(maps, uint64(reflect.ValueOf(r).Pointer())),
	})
	if err == nil {
		r.root = pid
		r.rootFD = int(int32(r.arena.Head().RootPIDFD))
		return nil
	}
	e := &OpError{
		Source: r.plan.tree.Source, Pos: root.Pos, Task: root.Name, What: "fork", Call: r.plan.cloneName(), Err: err,
	}
	for _, h := range r.plan.extras[r.plan.forkHints].hints {
		if errors.Is(err, unix.Errno(h.Errno)) {
			e.Reason = h.Text
		}
	}
	if errors.Is(err, unix.EEXIST) {
		e.Pos, e.Reason = root.PID.Pos, r.plan.holder(int(root.PID.Value))
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return &HostError{r.plan.tree.Source, []Lack{{
			Pos: root.Pos, Err: err,
			Msg: fmt.Sprintf("this kernel or a sandbox refuses %s for the root task (new namespaces and exact pids need CAP_SYS_ADMIN)", r.plan.cloneName()),
		}}}
	}
	return e
}

// cloneName names the call that makes tasks.
func (p *Plan) cloneName() string {
	if p.host.OldClone {
		return "clone"
	}
	return "clone3"
}

func (r *run) closeSlots() {
	for i := range r.slots {
		if s := &r.slots[i]; s.open && !s.borrowed {
			_ = unix.Close(s.fd)
			s.open = false
		}
	}
}

// await waits until a count of tasks is down to zero.
func (r *run) await(w *watch, count *uint32) error {
	for {
		v := postfork.Load(count)
		if v&program.AbortBit != 0 {
			return r.failure(w)
		}
		if v == 0 {
			return nil
		}
		postfork.Wait(count, v, time.Second)
	}
}

// awaitHeld waits until every task without a program holds, or was killed after
// release before it could: then nobody counts for it.
func (r *run) awaitHeld(w *watch) error {
	h := r.arena.Head()
	for {
		v := postfork.Load(&h.Started)
		if v&program.AbortBit != 0 {
			return r.failure(w)
		}
		if v == 0 || w.stopsWaiting() {
			return nil
		}
		waiting := false
		for i, task := range r.plan.tree.Tasks() {
			rec := r.arena.Record(i)
			if task.Holds() && postfork.Load(&rec.Holds) == 0 && postfork.Load(&rec.Word)&program.FutexDead == 0 {
				waiting = true
				break
			}
		}
		if !waiting {
			return nil
		}
		postfork.Wait(&h.Started, v, 20*time.Millisecond)
	}
}

// awaitPrograms waits until every task holds or has begun its program.
func (r *run) awaitPrograms(w *watch) error {
	h := r.arena.Head()
	if err := r.awaitHeld(w); err != nil {
		return err
	}
	for i, task := range r.plan.tree.Tasks() {
		if task.Holds() {
			continue
		}
		rec := r.arena.Record(i)
		for {
			word := postfork.Load(&rec.Word)
			if postfork.Load(&h.Started)&program.AbortBit != 0 {
				return r.failure(w)
			}
			if word&program.FutexDead != 0 || i == 0 && w.rootDied() || w.stopsWaiting() {
				break
			}
			postfork.Raise(&rec.Word, program.FutexWaiters)
			postfork.Wait(&rec.Word, word|program.FutexWaiters, 100*time.Millisecond)
		}
	}
	if postfork.Load(&h.Started)&program.AbortBit != 0 {
		return r.failure(w)
	}
	return nil
}

// failure says why the restore was aborted: the first task that recorded a
// reason of its own, else what the watch saw.
func (r *run) failure(w *watch) error {
	if cause := w.cause(); cause != nil {
		return cause
	}
	var canceled error
	for i := range r.plan.tasks {
		e := r.taskError(i)
		if e == nil {
			continue
		}
		if !errors.Is(e, ErrCanceled) {
			return e
		}
		canceled = e
	}
	if canceled != nil {
		return canceled
	}
	return fmt.Errorf("%s: restore: %w", r.plan.tree.Source, ErrCanceled)
}

// noteFailure gives the first failure that a task of a naive plan has noted: it
// went on, but the tree is not what was described.
func (r *run) noteFailure() error {
	for i := range r.plan.tasks {
		if e := r.taskError(i); e != nil {
			return e
		}
	}
	return nil
}

// taskError explains the failure that a task has recorded, nil if it has none.
func (r *run) taskError(i int) error {
	rec, prog := r.arena.Record(i), &r.plan.tasks[i]
	if rec.Errno == 0 {
		return nil
	}
	op, note := &prog.Ops[rec.Op], prog.Notes[rec.Op]
	reason, err := r.plan.reason(op, note, rec.Errno, rec.Got)
	pid := int(rec.PID)
	if i == 0 && r.plan.tree.HasNamespace(tasktree.NamespacePID) {
		pid = 1
	}
	if note.Verb == program.VerbFork && errors.Is(err, unix.EEXIST) {
		reason = r.plan.holder(int(op.Want))
	}
	return r.plan.opError(i, prog, int(rec.Op), pid, err, reason)
}

// end kills what there is of the tree, and waits until it is gone.
func (r *run) end() {
	if r.root == 0 {
		return
	}
	h := r.arena.Head()
	postfork.Raise(&h.Left, program.AbortBit)
	postfork.Store(&h.Gate, program.FutexDead)
	postfork.Wake(&h.Gate)
	r.family.end(r.root, r.rootFD, r.taskPIDs())
	_ = unix.Close(r.rootFD)
}

// taskPIDs gives the numbers of the tasks that have been made, where they are
// the host's.
func (r *run) taskPIDs() []int {
	if r.plan.tree.HasNamespace(tasktree.NamespacePID) {
		return nil // the kernel ends a namespace with its root
	}
	var pids []int
	for i := range r.plan.tasks {
		if pid := r.arena.Record(i).PID; pid > 0 {
			pids = append(pids, int(pid))
		}
	}
	return pids
}

// logOps logs what the tasks have done, from the plan: tasks cannot log. A pull has
// an entry for each open file that it brought, with the number where that landed.
func (r *run) logOps() {
	if !debugging(r.log) {
		return
	}
	for i := range r.plan.tasks {
		prog := &r.plan.tasks[i]
		log := r.log.WithFields(logrus.Fields{"task": r.plan.tree.Tasks()[i].Name, "pid": r.taskPID(i)})
		for j, note := range prog.Notes {
			op := &prog.Ops[j]
			switch note.Verb {
			case program.VerbPull:
				id := r.plan.messageOf(op)
				if op.Kind != program.OpPull || id < 0 {
					continue // a socket of the store on the way
				}
				numbers := program.Int32sAt(r.plan.arena.Base, r.plan.arena.Data(), op.Args[3], int(op.Args[2]))
				for k, fe := range r.plan.messages[id] {
					log.WithFields(logrus.Fields{"fd": numbers[k], "file": r.plan.tree.Files[fe.file].EndName(int(fe.end)), "message": id}).Debug("pull")
				}
			case program.VerbInstall:
				log.WithFields(logrus.Fields{"fd": note.FD, "file": r.plan.tree.Files[note.File].EndName(int(note.End))}).Debug(r.plan.callName(op, note))
			default: // the others are no matter of descriptors
			}
		}
	}
}

// debugging reports whether anybody wants to read what logOps has to say.
func debugging(log logrus.FieldLogger) bool {
	switch l := log.(type) {
	case *logrus.Logger:
		return l.IsLevelEnabled(logrus.DebugLevel)
	case *logrus.Entry:
		return l.Logger.IsLevelEnabled(logrus.DebugLevel)
	}
	return true
}

// errorf makes an error about the whole tree.
func (r *run) errorf(format string, args ...any) error {
	return fmt.Errorf(r.plan.tree.Source+": restore: "+format, args...)
}
