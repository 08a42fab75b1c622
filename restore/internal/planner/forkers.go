package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// leastToHelp is from how many children on a helper is worth its own fork and end.
const leastToHelp = 16

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
	helpers := f.pl.helpersFor(len(plain))
	part := (len(plain) - helpers) / (helpers + 1)
	cells := make([]uint64, helpers)
	for i := range cells {
		cells[i] = f.pl.plan.Arena.Cell()
		f.about(program.VerbFork, f.task.Pos)
		f.help(part+1, cells[i])
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
	for _, cell := range cells {
		f.add(program.OpReap, cell)
	}
	for _, child := range plain[own:] {
		f.forkChild(child)
	}
}

// help makes a helper for the next so many ops.
func (f forker) help(ops int, cell uint64) {
	args := f.pl.plan.Arena.Clone(program.CloneArgs{Signal: uint64(unix.SIGCHLD)})
	op := f.add(program.OpHelp, args, uint64(f.task.Index), uint64(ops), cell)
	if f.pl.plan.Host.OldClone {
		op.Flags |= program.FlagOldClone
	}
}

// helpersFor gives how many helpers a task has that forks so many children. There is
// none where pids are exact, or numbered from 1 in a namespace of their own: a helper
// takes a pid.
func (pl *planner) helpersFor(children int) int {
	switch {
	case pl.exact || pl.plan.Options.Naive:
		return 0
	case pl.plan.Options.Help > 0:
		return min(pl.plan.Options.Help, children/2)
	}
	return max(0, min(pl.plan.Host.Processors-1, children/leastToHelp-1, plan.MostHelpers))
}
