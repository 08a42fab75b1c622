package planner

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/assign"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// root writes what the root does before it forks. All tasks inherit it.
type root struct{ *taskWriter }

// begin undoes what a task must not inherit from the runner.
func (r root) begin() {
	a := r.pl.plan.Arena
	r.add(program.OpShed)
	const ssDisable = 2
	r.call(unix.SYS_SIGALTSTACK, a.Words([]uint64{0, ssDisable, 0}))
	for sig := range uint64(64) {
		if assign.ToDefault(r.pl.plan)>>sig&1 == 1 {
			r.call(unix.SYS_RT_SIGACTION, sig+1, a.Words([]uint64{0, 0, 0, 0}), 0, 8)
		}
	}
	if r.pl.plan.Options.Detach {
		r.call(unix.SYS_SETSID)
	}
	if h := r.pl.plan.Host; h.SoftFiles < h.HardFiles && r.pl.highest >= h.HardFiles-1 {
		// The Go runtime has raised the soft limit, but not to the hard one: it
		// left one number, see init in syscall/rlimit.go.
		r.setLimit(h.HardFiles, h.HardFiles)
		r.about(program.VerbSetUp, r.task.Pos)
	}
	r.takeOver()
	r.mapUser()
	r.folders()
	if r.pl.earlyLimit {
		r.limit()
	}
}

// takeOver moves what the root takes from the runner to its numbers, the store
// or every open file, and closes the rest of the runner's table.
func (r root) takeOver() {
	var kept []int
	if r.store >= 0 {
		op := r.call(unix.SYS_DUP3, r.pl.plan.Arena.Base+program.HeadStoreFD, uint64(r.store), unix.O_CLOEXEC)
		op.SetMode(0, program.ModeLoad)
		op.Allow = uint16(unix.EINVAL) // it is there already
		kept = append(kept, r.store)
	}
	for _, l := range r.pl.plan.Lent {
		r.call(unix.SYS_DUP3, l.Cell, uint64(l.Number), unix.O_CLOEXEC).SetMode(0, program.ModeLoad)
		r.numberHint()
		kept = append(kept, l.Number)
	}
	slices.Sort(kept)
	next := 0
	for _, n := range kept {
		if n > next {
			r.call(unix.SYS_CLOSE_RANGE, uint64(next), uint64(n-1), 0)
		}
		next = n + 1
	}
	const last = 1<<32 - 1
	r.call(unix.SYS_CLOSE_RANGE, uint64(next), last, 0)
}

// mapUser makes the caller user 0 of the tree's user namespace. The root task
// does it, before there are others, since it needs nobody's help for this one
// map: so the runner need not wait for it nor it for the runner, and a failure is
// that of an op like any other.
func (r root) mapUser() {
	t := r.pl.plan.Tree
	if !t.HasNamespace(tasktree.NamespaceUser) {
		return
	}
	r.about(program.VerbMap, t.NamespacePos(tasktree.NamespaceUser))
	n := r.table.Lowest()
	r.inTable(n)
	r.writeIDs(n)
}

// folders plans how the folders of all tasks are looked at, each once: whether one would
// mean another process. The runner does it before the first clone, unless the tasks
// have other rights: then the root does, when it has these and its folder is still the
// runner's. What each task does later is one chdir.
func (r root) folders() {
	pl, p := r.pl, r.pl.plan
	runner := &writer{pl: pl, prog: p.Prepare}
	look := runner
	if p.Tree.HasNamespace(tasktree.NamespaceUser) {
		look = &r.writer
	}
	seen := map[string]bool{}
	for _, task := range p.Tree.Tasks() {
		if task.Cwd.Value == "" {
			continue
		}
		path := p.Tree.Join(task.Cwd.Value)
		if seen[path] {
			continue
		}
		seen[path] = true
		look.about(program.VerbWay, task.Cwd.Pos)
		look.add(program.OpWay, p.Arena.String(path), pl.how(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), uint64(task.Index))
		look.note().Extra = pl.extra(plan.Extra{Path: path, Hints: pl.rightsHint()})
	}
	p.Prepare = runner.prog
	if look != runner && len(seen) > 0 {
		p.TasksLook = true
		r.inTable(r.table.Lowest())
	}
}
