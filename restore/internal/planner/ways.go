package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// ways plans how the folders of all tasks are looked at, each once: whether one would
// mean another process. The runner does it before the first clone, unless the tasks
// have other rights: then the root does, when it has these and its folder is still the
// runner's. What each task does later is one chdir.
func (tp *taskPlanner) ways() {
	pl, p := tp.pl, tp.pl.plan
	runner := &writer{pl: pl, prog: p.Prepare}
	look := runner
	if p.Tree.HasNamespace(tasktree.NamespaceUser) {
		look = &tp.writer
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
		tp.inTable(tp.table.Lowest())
	}
}
