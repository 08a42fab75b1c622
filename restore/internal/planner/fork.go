package planner

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/assign"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// forker writes how a task makes its children, and how it meets those that have a table
// with it.
type forker struct {
	*taskWriter
	pids []int32 // by task, 0: the kernel chooses
}

// fork makes the children, while the table holds the store alone: what they
// copy stays small and what they start with is known. Those that go on with a
// shared table are made first, each table's after the other, and the task leaves
// every table but its own:
//
//	forked with A ─ children with A ─ leave A ─ children with B ─ leave B
//	─ children with the task's own ─ plain children, which get copies
func (f forker) fork() {
	task, own := f.task, f.task.Table()
	var others []*tasktree.Task
	for _, c := range task.Children {
		if o := c.Carried; o != nil && o != own && o != task.Carried && !slices.Contains(others, o) {
			others = append(others, o)
		}
	}
	if task.Carried != nil && task.Carried != own {
		others = append([]*tasktree.Task{task.Carried}, others...)
	}
	for _, table := range others {
		f.forkChildren(table)
		f.about(program.VerbMeet, task.Pos)
		f.call(unix.SYS_UNSHARE, unix.CLONE_FILES)
		m := f.pl.meets[table]
		f.meet(m, m.Start)
	}
	f.forkChildren(own)
	f.forkWithHelp()
}

// forkChildren makes the children that go on with a table.
func (f forker) forkChildren(table *tasktree.Task) {
	for _, child := range f.task.Children {
		if child.Carried == table {
			f.forkChild(child)
		}
	}
}

// forkChild makes one child.
func (f forker) forkChild(child *tasktree.Task) {
	f.about(program.VerbFork, child.Pos)
	if child.PID.Pos.IsValid() {
		f.pos = child.PID.Pos
	}
	op := f.add(program.OpFork, f.pl.clone(child, f.pids[child.Index]), uint64(child.Index))
	if pid := f.pids[child.Index]; pid != 0 {
		f.want(op, int64(pid))
	}
	if f.pl.plan.Host.OldClone {
		op.Flags |= program.FlagOldClone
	}
	f.note().Extra = f.pl.forkHint()
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
	}
	c.Flags |= assign.CloneNamespaces(task)
	if c.Flags&unix.CLONE_NEWPID != 0 {
		c.PID = 0 // the kernel gives the first task of a namespace pid 1
	}
	return a.Clone(c)
}
