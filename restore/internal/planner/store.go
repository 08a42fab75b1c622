package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/limits"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
)

// clearStore moves the store's descriptor, or the channel to the service, off a
// number that the task needs.
func (g gatherer) clearStore() error {
	if g.table.Wants(g.store) == nil {
		return nil
	}
	to := g.table.Spare()
	if to < 0 {
		return g.clearFull()
	}
	what := g.table.Holds(g.store)
	g.aboutDescriptor(program.VerbMove, g.table.Wants(g.store))
	g.want(g.call(unix.SYS_DUP3, uint64(g.store), uint64(to), unix.O_CLOEXEC), int64(to))
	g.numberHint()
	g.call(unix.SYS_CLOSE, uint64(g.store))
	g.table.Release(g.store)
	g.table.Take(to, what)
	g.store = to
	return nil
}

// clearFull is for a table without any free number below the limit. The store
// may then sit on a number whose open file has another number too: a dup3 of
// that one replaces the store at the very end.
func (g gatherer) clearFull() error {
	numbers := map[plan.FileEnd]int{}
	for _, d := range g.table.Targets {
		numbers[plan.EndOf(d)]++
	}
	here := g.table.Wants(g.store)
	if numbers[plan.EndOf(here)] > 1 {
		return nil
	}
	return limits.FullTable(g.pl.plan, g.task, here.Pos, 0)
}

// letGo closes the store, from which nothing more is pulled, before the task makes
// files of its own in a table that is nearly full.
func (g gatherer) letGo() {
	const room = 3 // for a file that is looked at first, and one more
	if g.store < 0 || g.table.Holds(g.store).File >= 0 || uint64(g.table.Land(nil, room)[room-1]) < g.pl.plan.Host.HardFiles {
		return
	}
	g.about(program.VerbClose, g.task.Pos)
	g.call(unix.SYS_CLOSE, uint64(g.store))
	g.table.Release(g.store)
	g.store = -1
}
