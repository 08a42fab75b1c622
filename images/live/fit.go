package live

import (
	"slices"

	"regrow/tasktree"
)

// fitting tells which of several processes that run one program is which task, by the open
// files that each has: those of tasks that are matched are known.
type fitting struct {
	tree *tasktree.Tree
	own  map[string]int // descriptors of this process, by key

	paths   *resolver
	classes map[end]*class
	ends    map[*class]end
	entries map[*tasktree.OpenFile]*entry
	tries   int
}

// mostFits is how many processes are held against tasks at most, so that thousands of
// which none fits do not take minutes. The order counts then.
const mostFits = 1 << 22

func newFitting(tree *tasktree.Tree, own map[string]int, paths *resolver) *fitting {
	return &fitting{
		tree: tree, own: own, paths: paths,
		classes: map[end]*class{}, ends: map[*class]end{}, entries: map[*tasktree.OpenFile]*entry{},
	}
}

// kept reports whether a task has a descriptor once it holds or runs its program.
func kept(t *tasktree.Task, d *tasktree.Descriptor) bool { return t.Holds() || !d.Cloexec }

// learn notes the open files of a process that is a task.
func (f *fitting) learn(t *tasktree.Task, p *process) {
	if p.table == nil || p.table.err != nil {
		return
	}
	fds := t.Table().FDs
	for i := range fds {
		live := p.table.find(fds[i].FD)
		if live == nil || !kept(t, &fds[i]) {
			continue
		}
		e := end{fds[i].Open, fds[i].End}
		_, met := f.ends[live.class]
		if f.classes[e] == nil && !met {
			f.classes[e], f.ends[live.class] = live.class, e
		}
		if f.entries[e.file] == nil && !isLent(e) {
			f.entries[e.file] = live.class.entry
		}
	}
}

// fits reports whether a process runs a task's program and has just the open files that the
// task has.
func (f *fitting) fits(t *tasktree.Task, p *process) bool {
	if f.tries++; f.tries > mostFits || p.table == nil || p.table.err != nil {
		return false
	}
	fds := t.Table().FDs
	for i := range fds {
		if !kept(t, &fds[i]) {
			continue
		}
		live := p.table.find(fds[i].FD)
		if live == nil || !f.can(end{fds[i].Open, fds[i].End}, live.class) {
			return false
		}
	}
	return runs(t, p)
}

// can reports whether an open file may be the one that is described.
func (f *fitting) can(e end, c *class) bool {
	known, met := f.classes[e], f.ends[c]
	if known != nil {
		return known == c
	}
	if key := callerKey(e); key != "" {
		_, told := f.own[key]
		return !told || slices.Contains(c.own, key)
	}
	if met.file != nil && met != e || c.err != nil || c.entry.kind != e.file.Spec.Kind() || c.end != e.end {
		return false
	}
	if whole := f.entries[e.file]; whole != nil && whole != c.entry {
		return false
	}
	path := tasktree.Described(e.file.Spec).Traits(f.tree).Path
	if path == "" {
		return true
	}
	same, why := f.paths.leads(path, c.entry.spec.Traits(f.tree).Path)
	return same || why != ""
}
