package live

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/tasktree"
)

// callers finds which open files of the tree those of Options.Own are.
func (l *look) callers() error {
	for _, name := range slices.Sorted(maps.Keys(l.options.Own)) {
		d := descriptor{fd: l.options.Own[name]}
		var err error
		if d.info, err = proc.ReadFDInfo(proc.Caller, d.fd); err != nil {
			return fmt.Errorf("descriptor %d of this process (%s): %w", d.fd, name, err)
		}
		d.info.Flags &^= unix.O_CLOEXEC
		if c := l.find(&d); c != nil {
			c.own = append(c.own, name)
		}
	}
	return nil
}

// find gives the open file of the tree that a descriptor of this process is, nil if it is
// none, or if nobody can tell.
func (l *look) find(d *descriptor) *class {
	b := l.buckets[hashOf(proc.Caller, d)]
	switch {
	case b == nil || b.blind != nil:
		return nil
	case b.one:
		return b.files[0]
	}
	self := os.Getpid()
	at, known, err := search(len(b.files), 0, func(i int) (int, error) { return b.files[i].compare(self, d.fd) })
	switch {
	case err != nil && !gone(err):
		b.blinded(err)
	case known:
		return b.files[at]
	}
	return nil
}

// Table is the descriptor table of a task, with names for what is in it.
type Table struct {
	// Shares is the task whose table it is, nil: the task's own. Of several tasks with
	// one table it is that of the first which describes one.
	Shares *tasktree.Task

	FDs map[int]Identified
}

// Identified is a descriptor whose open file has a name.
type Identified struct {
	Name    string // "" if it is none that could be there
	Cloexec bool
}

// Identify says what each descriptor of a tree is that is being restored: a table for
// each task, in the order of the description. pids are the numbers of its processes, in
// the same order. Names are those of the description ("log", "jobs.r"), and in brackets
// what a restorer calls its helpers ("[store]").
//
// An open file that this process has is known by that: [Options].Own has it by its name.
// What a task has made for itself is known by what it leads to: it is one of those that
// its table is described to have, and that are not in Own.
//
// hint gives the name that is expected of a descriptor, "" for none. Where several names
// would do, that one is taken. A socket that is none of these can be a helper, of which
// the kernel tells no more: it is the one that hint says, if no other socket of the table
// is that.
//
// The error says that a process is gone, or that it cannot be told what a descriptor is:
// then it wraps the [*os.SyscallError] of kcmp(2).
func (s *Seen) Identify(tree *tasktree.Tree, pids []int, hint func(task, fd int) string) ([]Table, error) {
	id := &identification{
		tree: tree, own: s.own, made: map[*class]string{}, taken: map[string]bool{},
		helpers: map[*table]map[string]*class{},
	}
	processes := map[int]*process{}
	for _, p := range s.procs {
		processes[p.PID] = p
	}
	tasks := tree.Tasks()
	tables, owners := make([]*table, len(tasks)), map[*table]*tasktree.Task{}
	for i, t := range tasks {
		p := processes[pids[i]]
		if p == nil || p.table == nil {
			return nil, fmt.Errorf("live: %s: it is not there any more", taskName(t, &process{Status: proc.Status{ID: proc.ID{PID: pids[i]}}}))
		}
		if err := firstError(p.table.err, p.table.blind); err != nil {
			return nil, fmt.Errorf("live: %s: %w", taskName(t, p), err)
		}
		tables[i] = p.table
		if owner := owners[p.table]; owner == nil || owner.Sharer() && !t.Sharer() {
			owners[p.table] = t
		}
	}
	all := make([]Table, len(tasks))
	for i, t := range tasks {
		all[i].FDs = make(map[int]Identified, len(tables[i].fds))
		if owner := owners[tables[i]]; owner != t {
			all[i].Shares = owner
		}
		for _, d := range tables[i].fds {
			if d.class.blind != nil {
				return nil, fmt.Errorf("live: fd %d of %s: %w", d.fd, taskName(t, tables[i].owner), d.class.blind)
			}
			all[i].FDs[d.fd] = Identified{id.name(t, tables[i], d.class, hint(i, d.fd)), d.cloexec}
		}
	}
	return all, nil
}

// identification is one under way.
type identification struct {
	tree  *tasktree.Tree
	own   map[string]int
	paths resolver

	made    map[*class]string // what tasks have made for themselves
	taken   map[string]bool   // the names of these
	helpers map[*table]map[string]*class
}

// name gives the name of what a task has.
func (id *identification) name(t *tasktree.Task, of *table, c *class, hint string) string {
	switch name := id.made[c]; {
	case slices.Contains(c.own, hint):
		return hint
	case len(c.own) > 0:
		return c.own[0]
	case name != "":
		return name
	case strings.HasPrefix(c.link, "socket:"):
		return id.helper(of, c, hint)
	}
	found := ""
	for _, d := range t.Table().FDs {
		name := d.Open.EndName(d.End)
		_, ours := id.own[name]
		if !ours && !id.taken[name] && id.can(c, &d, name == hint) && (found == "" || name == hint) {
			found = name
		}
	}
	if found != "" {
		id.made[c], id.taken[found] = found, true
	}
	return found
}

// can reports whether an open file can be the one that a descriptor is described to
// have. expected decides where nobody can tell.
func (id *identification) can(c *class, d *tasktree.Descriptor, expected bool) bool {
	if c.err != nil || c.entry.kind != d.Open.Spec.Kind() || c.end != d.End {
		return false
	}
	path := d.Open.Spec.Traits(id.tree).Path
	if path == "" {
		return true
	}
	same, why := id.paths.leads(path, c.entry.spec.Traits(id.tree).Path)
	return same || why != "" && expected
}

// helper names a socket as it is expected to be, if it can be that.
func (id *identification) helper(of *table, c *class, hint string) string {
	if _, ours := id.own[hint]; ours || !strings.HasPrefix(hint, "[") {
		return ""
	}
	if id.helpers[of] == nil {
		id.helpers[of] = map[string]*class{}
	}
	if other := id.helpers[of][hint]; other != nil && other != c {
		return ""
	}
	id.helpers[of][hint] = c
	return hint
}
