package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// Probe is the plan of a task that has a table of its own, maps its user, and
// ends.
func Probe(t *tasktree.Tree, host plan.Host, base uint64) *plan.Plan {
	p := &plan.Plan{Tree: t, Host: host, Arena: program.NewArena(base, 1), Extras: make([]plan.Extra, 1)}
	pl := &planner{plan: p}
	w := &writer{pl: pl}
	w.about(program.VerbMap, tasktree.Pos{})
	w.call(unix.SYS_CLOSE_RANGE, 0, 1<<32-1, 0)
	if t.Root.HasNamespace(tasktree.NamespaceUser) {
		w.writeIDs(0)
	}
	rec := p.Arena.Record(0)
	w.add(program.OpBegin, rec, robustListHead, rec+program.RecordBegun)
	w.call(unix.SYS_EXIT_GROUP, 0)
	p.Tasks = []program.Program{w.prog}
	p.RootClone = pl.clone(t.Root, 0)
	return p
}
