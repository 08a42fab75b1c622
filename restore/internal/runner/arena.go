package runner

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/memory"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
)

// mapArena maps the arena where the plan wants it, or plans again for another
// place, and loads the plan.
func (r *run) mapArena() error {
	for try := range program.BaseTries {
		size := r.plan.ArenaSize()
		arena, err := postfork.Map(r.plan.Arena.Base, size)
		if errors.Is(err, unix.EEXIST) && try < program.BaseTries-1 {
			if r.plan, err = r.joined.Rebase(r.plan, r.plan.Arena.Base+program.BaseStep); err != nil {
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
	// What lies before the first Record is zero as it is, and not to be touched.
	copy(r.arena.Bytes()[program.HeadSize:], r.plan.Arena.Data()[program.HeadSize:])
	addr := r.plan.OpsBase()
	for i := range r.plan.Tasks {
		ops := r.plan.Tasks[i].Ops
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
	at := r.plan.Arena.Record(task)
	rec.Robust.Next = at + program.RecordNode
	rec.Robust.Offset = program.RecordWord - program.RecordNode
	rec.Robust.Pending = r.plan.Arena.Base + bellOffset - rec.Robust.Offset
	rec.Node = at
}

func (r *run) fillHead() error {
	h := r.arena.Head()
	h.Left = uint32(len(r.plan.Tasks))
	h.Started = uint32(r.plan.Held)
	h.Poll = [2]int64{5, 0} // seconds: only for the case that two tasks die at the worst moment
	if r.store != nil {
		h.StoreFD, h.StoreNumber = uint64(r.store.fd()), r.store.number()
	}
	h.Base, h.Size = r.arena.Base, r.arena.Size()
	h.Records = r.plan.Arena.Record(0)
	h.Private = r.plan.Arena.Private()
	mm, err := memory.Map(h.Private)
	if err != nil {
		return err
	}
	h.MMMap = mm
	return r.tellProcs(h)
}
