package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/assign"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// forkWithHelp makes the children that get copies of the table. Where there are many,
// helpers fork most of them, so that each processor forks, and what it forks runs
// where it was forked:
//
//	task    makes helpers ─ forks its part ─ waits for the helpers ─ forks the rest
//	helper  forks its part, children of the task by CLONE_PARENT ─ ends
//
// The rest is one child for each helper: there are never more processes at a time
// than the tree has tasks, which may be all that a limit allows.
func (f forker) forkWithHelp() {
	var plain []*tasktree.Task
	for _, child := range f.task.Children {
		if child.Carried == nil {
			plain = append(plain, child)
		}
	}
	helpers := assign.Helpers(f.pl.plan, f.pl.exact, len(plain))
	part := (len(plain) - helpers) / (helpers + 1)
	first := len(f.pl.plan.Tasks) + len(f.pl.plan.Helpers)
	for k := range helpers {
		f.about(program.VerbFork, f.task.Pos)
		f.help(first+k, part+1)
		for _, child := range plain[:part] {
			f.forkChild(child)
		}
		plain = plain[part:]
		f.about(program.VerbFork, f.task.Pos)
		f.add(program.OpEnd)
	}
	own := len(plain) - helpers
	for _, child := range plain[:own] {
		f.forkChild(child)
	}
	f.about(program.VerbFork, f.task.Pos)
	for k := range helpers {
		f.add(program.OpReap, f.pl.plan.Arena.Record(first+k)+program.RecordPID)
	}
	for _, child := range plain[own:] {
		f.forkChild(child)
	}
}

// help makes the helper with a record, for the next so many ops.
func (f forker) help(record, ops int) {
	a := f.pl.plan.Arena
	args := a.Clone(program.CloneArgs{
		Flags: unix.CLONE_PARENT_SETTID, Parent: a.Record(record) + program.RecordPID, Signal: uint64(unix.SIGCHLD),
	})
	op := f.add(program.OpHelp, args, uint64(record), uint64(ops))
	f.pl.plan.Helpers = append(f.pl.plan.Helpers, plan.HelperProcess{Task: f.task.Index, Op: len(f.prog.Ops)})
	if f.pl.plan.Host.OldClone {
		op.Flags |= program.FlagOldClone
	}
}
