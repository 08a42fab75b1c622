package assign

import (
	"encoding/binary"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// Meeting is where the tasks that have one descriptor table meet: whoever else
// has it must have forked, or have left it, before its owner fills it.
//
//	owner     forks ─ waits for the others ─ fills the table ─────────▶ ready
//	sharer    forks ─ counts ─────────────────────────────────────────▶ ready
//	between   forks those that go on with the table ─ leaves it, counts ─ ...
//
// In a naive plan every sharer takes a helper into the table, one after the
// other, before the owner fills it, and closes that number afterwards: what each
// of them would do by itself, in an order that can be predicted.
//
//	count:  all have forked ─ take, take ... ─ fill ─ close, close ... ─ 0
type Meeting struct {
	Count   uint64           // address
	Start   int              // its first value
	First   int              // in a naive plan: when all have forked
	others  int              // who has the table besides the owner
	Sharers []*tasktree.Task // in the order of Tree.Tasks
	Turns   bool             // the sharers take helpers
}

// Meetings finds who meets for each shared table, by its owner. Their counts are in the
// arena then.
func Meetings(p *plan.Plan) map[*tasktree.Task]*Meeting {
	meets := map[*tasktree.Task]*Meeting{}
	for _, t := range p.Tree.Tasks() {
		if !t.Sharer() {
			continue
		}
		m := meets[t.Owner]
		if m == nil {
			m = &Meeting{Count: p.Arena.Cell()}
			meets[t.Owner] = m
		}
		m.Sharers = append(m.Sharers, t)
	}
	if len(meets) == 0 {
		return nil
	}
	for _, t := range p.Tree.Tasks() {
		for owner := range tablesOf(t) {
			if m := meets[owner]; m != nil && t != owner {
				m.others++
			}
		}
	}
	for _, t := range p.Tree.Tasks() {
		m := meets[t]
		if m == nil {
			continue
		}
		m.Turns = p.Options.Naive && p.StoreFD >= 0
		m.Start = m.others + 1
		if m.Turns {
			m.First = 2*len(m.Sharers) + 2 + 2*len(m.Sharers)
			m.Start = m.others + 1 + m.First // the owner has forked, too
		}
		binary.NativeEndian.PutUint64(program.At(p.Arena.Base, p.Arena.Data(), m.Count, 8), uint64(m.Start))
	}
	return meets
}

// tablesOf gives the owners of the tables that a task has while it is restored:
// the one that it was forked with, those that its children share, its own.
func tablesOf(t *tasktree.Task) map[*tasktree.Task]bool {
	tables := map[*tasktree.Task]bool{t.Table(): true}
	if t.Carried != nil {
		tables[t.Carried] = true
	}
	for _, child := range t.Children {
		if child.Carried != nil {
			tables[child.Carried] = true
		}
	}
	return tables
}

// SharerHelper gives the number at which the k-th sharer of a naive plan has its
// helper: the lowest that is free, one after the other.
func SharerHelper(p *plan.Plan, k int) int {
	if k >= p.StoreFD {
		k++
	}
	return k
}
