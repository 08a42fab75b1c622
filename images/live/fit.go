package live

import (
	"slices"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// fitting tells which of several processes that run one program is which task, by what each
// has: the open files of tasks that are matched are known.
type fitting struct {
	tree *tasktree.Tree
	own  map[string]int // descriptors of this process, by key

	paths   *resolver
	classes map[end]*class
	ends    map[*class]end
	entries map[*tasktree.OpenFile]*entry
	counts  map[*tasktree.Task]int
	shown   map[*tasktree.OpenFile]string
	tries   int
}

// mostFits bounds how often processes are held against tasks, so that thousands of which
// none fits take a second and not minutes; the order counts then. To compare descriptors
// counts as costOfFit.
const (
	mostFits  = 1 << 25
	costOfFit = 8
)

func newFitting(tree *tasktree.Tree, own map[string]int, paths *resolver) *fitting {
	return &fitting{
		tree: tree, own: own, paths: paths,
		classes: map[end]*class{}, ends: map[*class]end{}, entries: map[*tasktree.OpenFile]*entry{}, counts: map[*tasktree.Task]int{}, shown: map[*tasktree.OpenFile]string{},
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

// keeps reports whether a process has as many descriptors as exec has left the task: its
// program has opened none, and it is no other one that has more.
func (f *fitting) keeps(t *tasktree.Task, p *process) bool {
	f.tries++
	return f.tries <= mostFits && p.table != nil && f.count(t) == len(p.table.fds)
}

// count gives how many descriptors a task keeps.
func (f *fitting) count(t *tasktree.Task) int {
	n, ok := f.counts[t]
	if !ok {
		fds := t.Table().FDs
		for i := range fds {
			if kept(t, &fds[i]) {
				n++
			}
		}
		f.counts[t] = n
	}
	return n
}

// fits reports whether a process runs a task's program and has the open files that the task
// has, and perhaps others.
func (f *fitting) fits(t *tasktree.Task, p *process) bool { return f.matches(t, p, false) }

// lacks is fits for a process that has closed some of them.
func (f *fitting) lacks(t *tasktree.Task, p *process) bool { return f.matches(t, p, true) }

func (f *fitting) matches(t *tasktree.Task, p *process, some bool) bool {
	if f.tries += costOfFit; f.tries > mostFits || p.table == nil || p.table.err != nil {
		return false
	}
	fds := t.Table().FDs
	for i := range fds {
		if !kept(t, &fds[i]) {
			continue
		}
		live := p.table.find(fds[i].FD)
		switch {
		case live == nil && some:
		case live == nil || !f.can(end{fds[i].Open, fds[i].End}, live.class):
			return false
		}
	}
	return runs(t, p)
}

// says reports whether a process has the folder, the attributes and the variables that the
// task says of itself, as far as they were read.
func (f *fitting) says(t *tasktree.Task, p *process) bool {
	if t.Cwd.Said() && p.cwd != "" {
		if same, why := f.paths.leads(f.tree.Join(t.Cwd.Value), p.cwd); !same && why == "" {
			return false
		}
	}
	for _, a := range t.Attributes {
		for _, b := range p.attrs {
			if a.Key() == b.Key() && len(schema.Compare(a, b)) > 0 {
				return false
			}
		}
	}
	return p.env == nil || !slices.ContainsFunc(t.Env, func(v tasktree.EnvVar) bool { return !slices.Contains(p.env, v.Name+"="+v.Value) })
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
	if met.file != nil && met != e || c.err != nil || c.entry.kind != e.file.Spec.Kind() {
		return false
	}
	if wise, ok := tasktree.Described(e.file.Spec).(kind.EndWise); ok {
		if !sameAccess(wise, e.end, c.entry.spec) {
			return false
		}
	} else if whole := f.entries[e.file]; c.end != e.end || whole != nil && whole != c.entry {
		return false
	}
	path := f.path(e.file)
	if path == "" {
		return true
	}
	same, why := f.paths.leads(path, c.entry.spec.Traits(f.tree).Path)
	return same || why != ""
}

// sameAccess reports whether an open file, which is an entry of its own, is open for what an
// end is.
func sameAccess(described kind.EndWise, end int, live tasktree.Spec) bool {
	wise, ok := live.(kind.EndWise)
	if !ok {
		return false
	}
	r, w := described.Access(end)
	reads, writes := wise.Access(0)
	return r == reads && w == writes
}

// path gives what the kernel shows of an open file with a path, without following links.
func (f *fitting) path(file *tasktree.OpenFile) string {
	path, ok := f.shown[file]
	if !ok {
		spec := tasktree.Described(file.Spec)
		if r, ok := spec.(kind.Readable); ok {
			spec = r.Made(f.tree) // it knows which are unlinked
		}
		path = spec.Traits(f.tree).Path
		f.shown[file] = path
	}
	return path
}
