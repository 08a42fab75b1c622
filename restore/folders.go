package restore

import (
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/tasktree"
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

// tellProcs tells the tasks where a procfs is.
func (r *run) tellProcs(h *program.Head) error {
	if !r.plan.tasksLook {
		return nil
	}
	procs, err := r.opener.Procs()
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	copy(h.FDFolder[:], program.FDFolder)
	putProcs(h, r.arena.Bytes()[program.ProcMounts:program.ProcMountsEnd], procs)
	return nil
}

// putProcs writes the mounts of procfs to table. A mount for which there is no room is
// left out: what lies there is refused.
func putProcs(h *program.Head, table []byte, procs safepath.Procs) {
	devs := map[uint64]bool{}
	for _, m := range procs {
		if devs[m.Dev] {
			continue
		}
		devs[m.Dev] = true
		if h.NProcDevs < program.MaxProcDevs {
			h.ProcDevs[h.NProcDevs] = m.Dev
		}
		h.NProcDevs++
	}
	for _, m := range procs {
		next := program.ProcMountSize + (len(m.Point)+7)&^7
		if next+program.ProcMountSize > len(table) {
			return
		}
		program.PutProcMount(table, program.ProcMount{Dev: m.Dev, Next: uint32(next), Len: uint16(len(m.Point)), Part: uint16(m.Part)}, m.Point)
		table = table[next:]
	}
}
