package planner

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/table"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// taskPlanner writes the program of one task.
//
//	table:  store ─▶ + pulled, made ─▶ installed ─▶ exactly the description
//	         enter      gather          install        clean
//	fork all children ┘ (they start with the store alone)
type taskPlanner struct {
	writer
	task    *tasktree.Task
	pids    []int32
	table   *table.Table
	channel int                    // where the task's own way to a service is
	store   int                    // where the store's descriptor is, -1: the task has none
	targets []*tasktree.Descriptor // ascending
	wanted  *table.Numbered[*tasktree.Descriptor]
	at      *table.ByFile[int]    // where each open file is after gather
	cloexec *table.Numbered[bool] // numbers in place: whether they have FD_CLOEXEC now
	full    *plan.RefusedError    // a recipe needs a number that there is not
}

func newTaskPlanner(pl *planner, task *tasktree.Task, pids []int32) *taskPlanner {
	sc := &pl.scratch
	sc.reset()
	sc.targets = pl.plan.Sorted(sc.targets, task)
	tp := &taskPlanner{
		writer:  writer{pl: pl, prog: program.Program{Ops: sc.ops[:0], Notes: sc.notes[:0]}},
		task:    task,
		targets: sc.targets,
		pids:    pids,
		table:   &sc.table,
		store:   pl.plan.StoreFD,
		wanted:  &sc.wanted,
		at:      &sc.at,
		cloexec: &sc.cloexec,
	}
	for i := range task.FDs {
		d := &task.FDs[i]
		tp.wanted.Set(d.FD, d)
	}
	if tp.store >= 0 {
		tp.table.Take(tp.store, plan.TheStore)
	}
	for _, l := range pl.plan.Lent {
		tp.table.Take(l.Number, l.FileEnd)
	}
	return tp
}

// result gives the program that was written and lets its memory be used again.
func (tp *taskPlanner) result() program.Program {
	sc := &tp.pl.scratch
	sc.ops, sc.notes = tp.prog.Ops, tp.prog.Notes
	return program.Program{Ops: slices.Clone(tp.prog.Ops), Notes: slices.Clone(tp.prog.Notes)}
}

// wants gives the descriptor that shall be at a number, nil if there is none.
func (tp *taskPlanner) wants(n int) *tasktree.Descriptor {
	d, _ := tp.wanted.Get(n)
	return d
}

// place gives the number where an open file is.
func (tp *taskPlanner) place(fe plan.FileEnd) int { return tp.at.Value(fe) }

// closes reports whether a number has FD_CLOEXEC.
func (tp *taskPlanner) closes(n int) bool {
	cloexec, _ := tp.cloexec.Get(n)
	return cloexec
}

// scratch is what planning a task works with: used again for the next task,
// since most of a large tree's tasks are small and alike.
type scratch struct {
	table   table.Table
	wanted  table.Numbered[*tasktree.Descriptor]
	at      table.ByFile[int]
	uses    table.ByFile[int]
	marked  table.ByFile[bool]
	cloexec table.Numbered[bool]
	targets []*tasktree.Descriptor
	ops     []program.Op
	notes   []program.Note
	key     []byte

	pulled, order      []plan.FileEnd
	way, numbers, open []int
	landed             []int32
}

func newScratch(t *tasktree.Tree) scratch {
	ends := 1
	for _, f := range t.Files {
		ends = max(ends, len(f.Spec.Ends()))
	}
	n := len(t.Files)
	return scratch{at: table.NewByFile[int](n, ends), uses: table.NewByFile[int](n, ends), marked: table.NewByFile[bool](n, ends)}
}

// reset empties the scratch for a task.
func (sc *scratch) reset() {
	sc.table.At.Reset()
	sc.table.Free = 0
	sc.wanted.Reset()
	sc.cloexec.Reset()
	sc.at.Reset()
}

func (tp *taskPlanner) plan() error {
	tp.enter()
	if tp.full != nil {
		return tp.full
	}
	tp.fork()
	if tp.task.Sharer() {
		tp.share()
	} else if err := tp.whileOthersWait(tp.fill); err != nil {
		return err
	}
	return tp.finish()
}

// fill makes the table what the description says.
func (tp *taskPlanner) fill() error {
	if tp.pl.plan.Options.Naive {
		return tp.naive()
	}
	if err := tp.gather(); err != nil {
		return err
	}
	if err := tp.install(); err != nil {
		return err
	}
	tp.clean()
	return nil
}

// enter makes the task's death known and, in the root, undoes what a task must
// not inherit from the runner. What the root does here holds for all.
func (tp *taskPlanner) enter() {
	a := tp.pl.plan.Arena
	const robustListHead = 24
	tp.about(program.VerbSetUp, tp.task.Pos)
	rec := a.Record(tp.task.Index)
	tp.add(program.OpBegin, rec, robustListHead, rec+program.RecordBegun)
	if tp.task.Parent != nil {
		return
	}
	tp.add(program.OpShed)
	const ssDisable = 2
	tp.call(unix.SYS_SIGALTSTACK, a.Words([]uint64{0, ssDisable, 0}))
	for sig := range uint64(64) {
		if toDefault(tp.pl.plan)>>sig&1 == 1 {
			tp.call(unix.SYS_RT_SIGACTION, sig+1, a.Words([]uint64{0, 0, 0, 0}), 0, 8)
		}
	}
	if tp.pl.plan.Options.Detach {
		tp.call(unix.SYS_SETSID)
	}
	if h := tp.pl.plan.Host; h.SoftFiles < h.HardFiles && tp.pl.probe >= h.HardFiles-1 {
		// The Go runtime has raised the soft limit, but not to the hard one: it
		// left one number, see init in syscall/rlimit.go.
		tp.setLimit(h.HardFiles, h.HardFiles)
		tp.about(program.VerbSetUp, tp.task.Pos)
	}
	tp.takeOver()
	tp.mapUser()
	tp.ways()
	if tp.pl.earlyLimit {
		tp.limit()
	}
}

// takeOver moves what the root takes from the runner to its numbers, the store
// or every open file, and closes the rest of the runner's table.
func (tp *taskPlanner) takeOver() {
	var kept []int
	if tp.store >= 0 {
		op := tp.call(unix.SYS_DUP3, tp.pl.plan.Arena.Base+program.HeadStoreFD, uint64(tp.store), unix.O_CLOEXEC)
		op.SetMode(0, program.ModeLoad)
		op.Allow = uint16(unix.EINVAL) // it is there already
		kept = append(kept, tp.store)
	}
	for _, l := range tp.pl.plan.Lent {
		tp.call(unix.SYS_DUP3, l.Cell, uint64(l.Number), unix.O_CLOEXEC).SetMode(0, program.ModeLoad)
		tp.numberHint()
		kept = append(kept, l.Number)
	}
	slices.Sort(kept)
	next := 0
	for _, n := range kept {
		if n > next {
			tp.call(unix.SYS_CLOSE_RANGE, uint64(next), uint64(n-1), 0)
		}
		next = n + 1
	}
	const last = 1<<32 - 1
	tp.call(unix.SYS_CLOSE_RANGE, uint64(next), last, 0)
}

// toDefault gives the signals whose action the root must set to the default:
// CLONE_CLEAR_SIGHAND leaves those that are ignored, clone(2) leaves all.
func toDefault(p *plan.Plan) uint64 {
	const cannot = 1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1)
	if p.Host.OldClone {
		return ^uint64(cannot)
	}
	return p.Host.Ignored &^ cannot
}

// limit gives the task the caller's RLIMIT_NOFILE back.
func (tp *taskPlanner) limit() {
	tp.setLimit(tp.pl.plan.Host.SoftFiles, tp.pl.plan.Host.HardFiles)
}

func (tp *taskPlanner) setLimit(soft, hard uint64) {
	tp.about(program.VerbLimit, tp.task.Pos)
	tp.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, tp.pl.plan.Arena.Words([]uint64{soft, hard}), 0)
	// Even to the limit that the task has already, see do_prlimit in kernel/sys.c.
	tp.note().Extra = tp.pl.extra(plan.Extra{Hints: []recipe.Hint{{
		Errno: int(unix.EPERM),
		Text:  fmt.Sprintf("fs.nr_open is now lower than the hard limit of %d, or a sandbox refuses the call; lower the limit with ulimit -Hn", hard),
	}}})
}

// forkChild makes one child.
func (tp *taskPlanner) forkChild(child *tasktree.Task) {
	tp.about(program.VerbFork, child.Pos)
	if child.PID.Pos.IsValid() {
		tp.pos = child.PID.Pos
	}
	op := tp.add(program.OpFork, tp.pl.clone(child, tp.pids[child.Index]), uint64(child.Index))
	if pid := tp.pids[child.Index]; pid != 0 {
		tp.want(op, int64(pid))
	}
	if tp.pl.plan.Host.OldClone {
		op.Flags |= program.FlagOldClone
	}
	tp.note().Extra = tp.pl.forkHint()
}

// clone gives the address of the clone_args that make a task.
func (pl *planner) clone(task *tasktree.Task, pid int32) uint64 {
	a := pl.plan.Arena
	c := program.CloneArgs{
		Flags:  unix.CLONE_CHILD_SETTID,
		Child:  a.Record(task.Index) + program.RecordWord,
		Signal: uint64(unix.SIGCHLD),
		PID:    pid,
	}
	if task.Carried != nil {
		c.Flags |= unix.CLONE_FILES
	}
	if task.Parent != nil {
		c.Flags |= unix.CLONE_PARENT_SETTID
		c.Parent = a.Record(task.Index) + program.RecordPID
	} else {
		c.Flags |= unix.CLONE_PIDFD
		if !pl.plan.Host.OldClone {
			c.Flags |= unix.CLONE_CLEAR_SIGHAND
		}
		c.PIDFD = a.Base + program.HeadRootPIDFD
		c.Flags |= CloneNamespaces(pl.plan.Tree)
		if c.Flags&unix.CLONE_NEWPID != 0 {
			c.PID = 0 // the kernel gives the first task of a namespace pid 1
		}
	}
	return a.Clone(c)
}

// letGo closes the store, from which nothing more is pulled, before the task makes
// files of its own in a table that is nearly full.
func (tp *taskPlanner) letGo() {
	const room = 3 // for a file that is looked at first, and one more
	if tp.store < 0 || tp.table.Holds(tp.store).File >= 0 || uint64(tp.table.Land(nil, room)[room-1]) < tp.pl.plan.Host.HardFiles {
		return
	}
	tp.about(program.VerbClose, tp.task.Pos)
	tp.call(unix.SYS_CLOSE, uint64(tp.store))
	tp.table.Release(tp.store)
	tp.store = -1
}

// finish makes the task ready and says what it does once released.
func (tp *taskPlanner) finish() error {
	a, task := tp.pl.plan.Arena, tp.task
	if !tp.pl.earlyLimit {
		tp.limit()
	}
	var run execve
	if !task.Holds() {
		var err error
		if run, err = tp.find(); err != nil {
			return err
		}
	}
	if task.Cwd.Value != "" {
		tp.about(program.VerbChdir, task.Cwd.Pos)
		path := tp.pl.plan.Tree.Join(task.Cwd.Value)
		tp.call(unix.SYS_CHDIR, a.String(path))
		tp.note().Extra = tp.pl.extra(plan.Extra{Path: path, Hints: tp.pl.rightsHint()})
	}
	if task.Holds() {
		tp.about(program.VerbName, task.Pos)
		name := a.String(task.Name)
		tp.call(unix.SYS_PRCTL, unix.PR_SET_NAME, name, 0, 0, 0)
		tp.add(program.OpName, name, uint64(len(task.Name)))
	}
	tp.about(program.VerbReady, task.Pos)
	tp.add(program.OpReady)
	const setMask, setSize = 2, 8
	tp.call(unix.SYS_RT_SIGPROCMASK, setMask, a.Words([]uint64{0}), 0, setSize)
	if task.Holds() {
		tp.about(program.VerbHold, task.Pos)
		tp.add(program.OpHold, a.Record(task.Index)+program.RecordHolds)
		return nil
	}
	tp.exec(run)
	return nil
}
