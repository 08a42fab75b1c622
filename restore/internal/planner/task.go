package planner

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// taskPlanner writes the program of one task.
//
//	table:  store ─▶ + pulled, made ─▶ installed ─▶ exactly the description
//	         enter      gather          install        clean
//	fork all children ┘ (they start with the store alone)
type taskPlanner struct {
	taskWriter
	pids []int32 // by task, 0: the kernel chooses
}

// newTaskPlanner begins the program of a task, whose table holds what its parent's does
// when it forks.
func newTaskPlanner(pl *planner, task *tasktree.Task, pids []int32) *taskPlanner {
	sc := &pl.scratch
	sc.begin(pl.plan, task)
	tp := &taskPlanner{
		taskWriter: taskWriter{
			writer: writer{pl: pl, prog: program.Program{Ops: sc.ops[:0], Notes: sc.notes[:0]}},
			task:   task,
			table:  &sc.table,
			store:  pl.plan.StoreFD,
		},
		pids: pids,
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

// plan writes the program. The error is a [*plan.RefusedError].
func (tp *taskPlanner) plan() error {
	tp.enter()
	if tp.full != nil {
		return tp.full
	}
	f := forker{&tp.taskWriter, tp.pids}
	tp.stage(recipe.Enter)
	tp.stage(recipe.Session)
	f.fork()
	tp.stage(recipe.Turns)
	tp.stage(recipe.Groups)
	if tp.task.Sharer() {
		f.share()
	} else if err := f.whileOthersWait(tp.fill); err != nil {
		return err
	}
	return tp.finish()
}

// fill makes the table what the description says.
func (tp *taskPlanner) fill() error {
	if tp.pl.plan.Options.Naive {
		n := naive{gatherer: gatherer{&tp.taskWriter}}
		return n.fill()
	}
	if err := (gatherer{&tp.taskWriter}).gather(); err != nil {
		return err
	}
	i := installer{&tp.taskWriter}
	if err := i.install(); err != nil {
		return err
	}
	i.clean()
	return nil
}

// robustListHead is the size of a struct robust_list_head.
const robustListHead = 24

// enter makes the task's death known and, in the root, prepares what all inherit.
func (tp *taskPlanner) enter() {
	a := tp.pl.plan.Arena
	tp.about(program.VerbSetUp, tp.task.Pos)
	rec := a.Record(tp.task.Index)
	tp.add(program.OpBegin, rec, robustListHead, rec+program.RecordBegun)
	if tp.task.Parent == nil {
		root{&tp.taskWriter}.begin()
	}
}

// finish makes the task ready and says what it does once released.
func (tp *taskPlanner) finish() error {
	a, task := tp.pl.plan.Arena, tp.task
	tp.stage(recipe.Wired)
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
	tp.stage(recipe.Place)
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
	for s := recipe.Deaths; s <= recipe.Stops; s++ {
		tp.stage(s)
	}
	if tp.leave() {
		return nil
	}
	tp.about(program.VerbReady, task.Pos)
	tp.call(unix.SYS_FUTEX, a.CountDown(program.HeadLeft)...)
	tp.about(program.VerbGate, task.Pos)
	tp.add(program.OpGate, a.Base+program.HeadGate)
	tp.stage(recipe.Last)
	tp.about(program.VerbGate, task.Pos)
	const setMask, setSize = 2, 8
	tp.call(unix.SYS_RT_SIGPROCMASK, setMask, a.Words([]uint64{0}), 0, setSize)
	tp.stage(recipe.End)
	if task.Holds() {
		tp.pl.plan.Held++
		tp.about(program.VerbHold, task.Pos)
		tp.call(unix.SYS_FUTEX, a.CountDown(program.HeadStarted)...)
		tp.add(program.OpStore, 1, a.Record(task.Index)+program.RecordHolds)
		tp.add(program.OpHold)
		return nil
	}
	tp.exec(run)
	return nil
}
