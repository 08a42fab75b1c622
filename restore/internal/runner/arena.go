package runner

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/memory"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/prepare"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/tasktree"
)

// loaded is a plan in its arena, where the tasks read their programs and note how they
// fared.
type loaded struct {
	plan  *plan.Plan
	arena *postfork.Arena // nil: not mapped yet
}

// load maps the arena where the plan wants it, or plans again for the next place unless
// the plan must lie there, and loads the plan.
func (l *loaded) load(rebase func(p *plan.Plan) (*plan.Plan, error)) error {
	for {
		o := &l.plan.Options
		arena, err := postfork.Map(l.plan.Arena.Base, l.plan.ArenaSize(), o.Code)
		if err == nil {
			l.arena = arena
			break
		}
		if !errors.Is(err, unix.EEXIST) || o.Base != 0 || o.Place >= program.BaseTries-1 {
			return l.plan.NoRoom(err, memory.InTheWay)
		}
		if l.plan, err = rebase(l.plan); err != nil {
			return err
		}
	}
	// What lies before the first Record is zero as it is, and not to be touched.
	copy(l.arena.Bytes()[program.HeadSize:], l.plan.Arena.Data()[program.HeadSize:])
	addr := l.plan.OpsBase()
	for i := range l.plan.Tasks {
		ops := l.plan.Tasks[i].Ops
		l.arena.PutOps(addr, ops)
		rec := l.arena.Record(i)
		rec.Ops = addr
		l.initRecord(i, rec)
		addr += uint64(len(ops)) * program.OpSize
	}
	for k, helper := range l.plan.Helpers {
		l.helps(len(l.plan.Tasks)+k, l.arena.Record(helper.Task).Ops+uint64(helper.Op)*program.OpSize)
	}
	for i := range l.plan.Benches {
		b := &l.plan.Benches[i]
		l.arena.PutOps(addr, b.Ops)
		l.arena.Record(b.Record).Ops = addr
		for j := range b.Ops {
			if addr += program.OpSize; b.Ops[j].Kind == program.OpChild {
				l.helps(int(b.Ops[j].Args[1]), addr)
			}
		}
	}
	l.placeHead()
	return nil
}

// helps gives a helper, or a child of a bench, its first op.
func (l *loaded) helps(record int, ops uint64) {
	rec := l.arena.Record(record)
	rec.Ops, rec.Begun = ops, program.BegunHelper
}

// placeHead notes in Head where things lie in the arena.
func (l *loaded) placeHead() {
	h := l.arena.Head()
	h.Base, h.Size = l.arena.Base, l.arena.Size()
	h.Records = l.plan.Arena.Record(0)
	h.Private = l.plan.Arena.Private()
	h.Slots = l.plan.SlotsAt
}

// initRecord makes the record a robust list: when the task ends or execs, the
// kernel marks Word and wakes the waiter of Head.Bell.
func (l *loaded) initRecord(task int, rec *program.Record) {
	const bellOffset = 12 // of Head.Bell
	at := l.plan.Arena.Record(task)
	rec.Robust.Next = at + program.RecordNode
	rec.Robust.Offset = program.RecordWord - program.RecordNode
	rec.Robust.Pending = l.plan.Arena.Base + bellOffset - rec.Robust.Offset
	rec.Node = at
}

// fillHead tells the tasks what was not known when they were planned.
func (l *loaded) fillHead(files *prepare.Files, opener *safepath.Opener) error {
	h := l.arena.Head()
	h.Left = uint32(len(l.plan.Tasks))
	h.Started = uint32(l.plan.Held)
	h.Poll = [2]int64{5, 0} // seconds: only for the case that two tasks die at the worst moment
	if fd, number, ok := files.Store(); ok {
		h.StoreFD, h.StoreNumber = uint64(fd), number
	}
	mm, err := memory.Map(h.Private)
	if err != nil {
		return err
	}
	h.MMMap = mm
	return l.tellProcs(h, opener)
}

// unload gives the memory back.
func (l *loaded) unload() error {
	if l.arena == nil {
		return nil
	}
	return l.arena.Unmap()
}

// inner gives the numbers of the tasks in the tree's pid namespace.
func (l *loaded) inner() (pids []int) {
	for i := range l.plan.Tasks {
		pids = append(pids, l.plan.TaskPID(i, l.arena.Record(i).PID))
	}
	return pids
}

// madePIDs gives the numbers of the tasks and the helpers that have been made, where
// they are the host's.
func (l *loaded) madePIDs() []int {
	if l.plan.Tree.HasNamespace(tasktree.NamespacePID) {
		return nil // the kernel ends a namespace with its root
	}
	var pids []int
	for i := range l.plan.Processes() {
		if pid := l.arena.Record(i).PID; pid > 0 {
			pids = append(pids, int(pid))
		}
	}
	return pids
}

// raise tells all tasks that the restore has failed.
func (l *loaded) raise() {
	h := l.arena.Head()
	for _, word := range []*uint32{&h.Left, &h.Started} {
		postfork.Raise(word, program.AbortBit)
		postfork.Wake(word)
	}
}

// errorf makes an error about the whole tree.
func (l *loaded) errorf(format string, args ...any) error {
	return fmt.Errorf(l.plan.Tree.Source+": restore: "+format, args...)
}
