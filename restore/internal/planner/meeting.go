package planner

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// meeting is where the tasks that have one descriptor table meet: whoever else
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
type meeting struct {
	count   uint64           // address
	start   int              // its first value
	first   int              // in a naive plan: when all have forked
	others  int              // who has the table besides the owner
	sharers []*tasktree.Task // in the order of Tree.Tasks
	turns   bool             // the sharers take helpers
}

// meetings finds who meets for each shared table.
func (pl *planner) meetings() {
	p := pl.plan
	pl.meets = map[*tasktree.Task]*meeting{}
	for _, t := range p.Tree.Tasks() {
		if !t.Sharer() {
			continue
		}
		m := pl.meets[t.Owner]
		if m == nil {
			m = &meeting{count: p.Arena.Cell()}
			pl.meets[t.Owner] = m
		}
		m.sharers = append(m.sharers, t)
	}
	if len(pl.meets) == 0 {
		return
	}
	for _, t := range p.Tree.Tasks() {
		for owner := range tablesOf(t) {
			if m := pl.meets[owner]; m != nil && t != owner {
				m.others++
			}
		}
	}
	for _, t := range p.Tree.Tasks() {
		m := pl.meets[t]
		if m == nil {
			continue
		}
		m.turns = p.Options.Naive && p.StoreFD >= 0
		m.start = m.others + 1
		if m.turns {
			m.first = 2*len(m.sharers) + 2 + 2*len(m.sharers)
			m.start = m.others + 1 + m.first // the owner has forked, too
		}
		binary.NativeEndian.PutUint64(program.At(p.Arena.Base, p.Arena.Data(), m.count, 8), uint64(m.start))
	}
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

// meet waits until the count of a table's tasks is down to value, and takes one
// off.
func (f forker) meet(m *meeting, value int) {
	f.add(program.OpMeet, m.count, uint64(value))
}

// share is what a task does that has the table of another one.
func (f forker) share() {
	owner := f.task.Owner
	m := f.pl.meets[owner]
	f.about(program.VerbMeet, f.task.SharesFiles.Pos)
	f.meet(m, m.start)
	if !m.turns {
		return
	}
	k, n := slices.Index(m.sharers, f.task), len(m.sharers)
	helper := f.pl.sharerHelper(k)
	take := m.first - 2*k
	f.meet(m, take)
	f.lenient = true
	f.about(program.VerbHelper, f.task.SharesFiles.Pos)
	f.want(f.call(unix.SYS_FCNTL, uint64(f.store), unix.F_DUPFD_CLOEXEC, 0), int64(helper))
	f.note().Extra = f.pl.extra(plan.Extra{Name: "fcntl(F_DUPFD_CLOEXEC)"})
	f.about(program.VerbMeet, f.task.SharesFiles.Pos)
	f.meet(m, take-1)
	closing := 2*n - 2*k
	f.meet(m, closing)
	f.about(program.VerbHelper, f.task.SharesFiles.Pos)
	f.call(unix.SYS_CLOSE, uint64(helper)).Allow = uint16(unix.EBADF)
	f.about(program.VerbMeet, f.task.SharesFiles.Pos)
	f.lenient = false
	f.meet(m, closing-1)
}

// sharerHelper gives the number at which the k-th sharer of a naive plan has its
// helper: the lowest that is free, one after the other.
func (pl *planner) sharerHelper(k int) int {
	if k >= pl.plan.StoreFD {
		k++
	}
	return k
}

// whileOthersWait lets the owner of a shared table fill it.
func (f forker) whileOthersWait(fill func() error) error {
	m := f.pl.meets[f.task]
	if m == nil {
		return fill()
	}
	f.about(program.VerbMeet, f.task.Pos)
	if !m.turns {
		f.meet(m, 1)
		return fill()
	}
	n := len(m.sharers)
	for k := range n {
		f.table.Take(f.pl.sharerHelper(k), plan.TheStore)
	}
	f.meet(m, m.start)
	f.meet(m, 2*n+2)
	if err := fill(); err != nil {
		return err
	}
	f.about(program.VerbMeet, f.task.Pos)
	f.meet(m, 2*n+1)
	return nil
}
