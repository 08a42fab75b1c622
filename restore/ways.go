package restore

import (
	"regrow/restore/internal/program"
	"regrow/tasktree"

	"golang.org/x/sys/unix"
)

// ways plans how the folders of all tasks are looked at, each once: whether one would
// mean another process. The runner does it before the first clone, unless the tasks
// have other rights: then the root does, when it has these and its folder is still the
// runner's. What each task does later is one chdir.
func (tp *taskPlanner) ways() {
	pl, p := tp.pl, tp.pl.plan
	runner := &writer{pl: pl, prog: p.prepare}
	look := runner
	if p.tree.HasNamespace(tasktree.NamespaceUser) {
		look = &tp.writer
	}
	seen := map[string]bool{}
	for _, task := range p.tree.Tasks() {
		if task.Cwd.Value == "" {
			continue
		}
		path := p.tree.Join(task.Cwd.Value)
		if seen[path] {
			continue
		}
		seen[path] = true
		look.about(program.VerbWay, task.Cwd.Pos)
		look.add(program.OpWay, p.arena.String(path), pl.how(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), uint64(task.Index))
		look.note().Extra = pl.extra(extra{path: path, hints: pl.rightsHint()})
	}
	p.prepare = runner.prog
	if look != runner && len(seen) > 0 {
		p.tasksLook = true
		tp.inTable(tp.table.lowest())
	}
}
