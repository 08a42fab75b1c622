package live

import (
	"path"
	"slices"

	"regrow/tasktree"
)

// matching says which process is which described task.
type matching struct {
	process map[*tasktree.Task]*process
	task    map[*process]*tasktree.Task
	fit     *fitting // nil: no task runs a program
}

// match finds the process of each task: that of the root is given, and below each
// parent those are one another's that have the pid, else the name, else the program with the
// open files and attributes that the task has, else the program, in their order. Many
// children have no order, since several processes have forked them, and often run the same
// program.
//
// A name may be what is wrong, and a program may have become another one: what is left is
// matched by the numbers of its descriptors, and last, below a parent that starts nothing by
// itself, programs by their order.
func match(tree *tasktree.Tree, seen *Seen, paths *resolver) matching {
	m := matching{map[*tasktree.Task]*process{}, map[*process]*tasktree.Task{}, nil}
	if slices.ContainsFunc(tree.Tasks(), func(t *tasktree.Task) bool { return !t.Holds() }) {
		m.fit = newFitting(tree, seen.own, paths)
	}
	m.are(tree.Root, seen.procs[0])
	passes := m.passes(tree)
	// Those that are certain come first, all over the tree: by what they have open others
	// are told.
	for _, passes := range [][]pass{passes[:certain], passes} {
		for _, t := range tree.Tasks() {
			if p := m.process[t]; p != nil && len(t.Children) > 0 {
				m.children(passes, t.Children, p.children)
			}
		}
	}
	return m
}

func (m matching) are(t *tasktree.Task, p *process) {
	m.process[t], m.task[p] = p, t
	if m.fit != nil {
		m.fit.learn(t, p)
	}
}

// pass finds processes of some tasks by one property.
type pass struct {
	of   func(*tasktree.Task) bool // whom it is for: there may be 10,000 tasks
	same func(*tasktree.Task, *process) bool

	// Several processes may do for a task, and one of them alone for another one. Then
	// they exchange theirs.
	exchange bool
	large    bool // tasks with more descriptors come first, which fewer processes have
}

const certain = 2 // passes that give no process to the wrong task

func (m matching) passes(tree *tasktree.Tree) []pass {
	hasPID := func(t *tasktree.Task) bool { return t.PID.Value > 0 }
	programs := func(t *tasktree.Task) bool { return !t.Holds() } // then m.fit is not nil
	return []pass{
		{of: hasPID, same: func(t *tasktree.Task, p *process) bool { return int64(p.inner(tree)) == t.PID.Value }},
		{of: (*tasktree.Task).Holds, same: hasName},
		{of: programs, exchange: true, same: func(t *tasktree.Task, p *process) bool {
			return m.fit.keeps(t, p) && m.fit.fits(t, p) && m.fit.says(t, p)
		}},
		{of: programs, exchange: true, same: func(t *tasktree.Task, p *process) bool { return m.fit.keeps(t, p) && m.fit.fits(t, p) }},
		{of: programs, exchange: true, large: true, same: func(t *tasktree.Task, p *process) bool { return m.fit.fits(t, p) }},
		{of: programs, exchange: true, large: true, same: func(t *tasktree.Task, p *process) bool { return m.fit.lacks(t, p) }},
		{of: programs, same: runs},
		{of: programs, same: hasProgram},
		{of: func(*tasktree.Task) bool { return true }, same: sameNumbers},
		{of: programs, same: func(t *tasktree.Task, _ *process) bool { return t.Parent.Holds() }},
	}
}

// children finds the processes of the children of one task.
func (m matching) children(passes []pass, tasks []*tasktree.Task, processes []*process) {
	for _, by := range passes {
		left := slices.DeleteFunc(slices.Clone(tasks), func(t *tasktree.Task) bool { return m.process[t] != nil || !by.of(t) })
		if by.large {
			slices.SortStableFunc(left, func(a, b *tasktree.Task) int { return m.fit.count(b) - m.fit.count(a) })
		}
		given := map[*tasktree.Task]bool{} // in this pass
		next := 0                          // most children come in the order of the description
		for _, t := range left {
			for i := range processes {
				p := processes[(next+i)%len(processes)]
				if m.task[p] == nil && by.same(t, p) {
					m.are(t, p)
					next = (next + i + 1) % len(processes)
					break
				}
			}
			given[t] = m.process[t] != nil || by.exchange && len(given) > 0 && m.exchange(by, t, processes, given, map[*process]bool{})
		}
	}
}

// exchange finds a process for a task where all that would do are given: a task that has one
// of them takes another one (an augmenting path). tried are processes that were asked for,
// none at first: then the free ones were.
func (m matching) exchange(by pass, t *tasktree.Task, processes []*process, given map[*tasktree.Task]bool, tried map[*process]bool) bool {
	first := len(tried) == 0
	for _, p := range processes {
		other := m.task[p]
		if tried[p] || other == nil && first || other != nil && !given[other] || !by.same(t, p) {
			continue
		}
		tried[p] = true
		if other == nil || m.exchange(by, other, processes, given, tried) {
			m.are(t, p)
			return true
		}
	}
	return false
}

// inner gives the number of a process that descriptions of the tree mean.
func (p *process) inner(tree *tasktree.Tree) int {
	if tree.HasNamespace(tasktree.NamespacePID) && len(p.pids) > 1 {
		return p.pids[1]
	}
	return p.PID
}

func hasName(t *tasktree.Task, p *process) bool {
	return p.Name == comm(t.Name) && (len(p.args) == 0 || p.args[0] == t.Name)
}

// comm gives what the kernel keeps of a name.
func comm(name string) string {
	const most = 15 // bytes, TASK_COMM_LEN without the NUL
	return name[:min(most, len(name))]
}

// runs reports whether a process has a task's program and its arguments. Those of a
// script come behind its interpreter's.
func runs(t *tasktree.Task, p *process) bool {
	return slices.Equal(argumentsOf(t, p), textsOf(t.Run))
}

// argumentsOf gives the arguments of a process as its description would say them: from
// the script on, and the program as it is called there where only the folder differs.
func argumentsOf(t *tasktree.Task, p *process) []string {
	args := slices.Clone(p.args)
	program := t.Run[0].Value
	if n := len(args) - len(t.Run); n > 0 && path.Base(args[n]) == path.Base(program) {
		args = args[n:]
	}
	if len(args) > 0 && path.Base(args[0]) == path.Base(program) {
		args[0] = program
	}
	return args
}

func textsOf(texts []tasktree.Text) (all []string) {
	for _, t := range texts {
		all = append(all, t.Value)
	}
	return all
}

// hasProgram is runs for a program that shows other arguments.
func hasProgram(t *tasktree.Task, p *process) bool {
	return p.Name == comm(path.Base(t.Run[0].Value))
}

// sameNumbers reports whether a process has just the numbers of a task that holds, or
// at least those that exec has left a program.
func sameNumbers(t *tasktree.Task, p *process) bool {
	if p.table == nil || p.table.err != nil {
		return false
	}
	fds := t.Table().FDs
	for i := range fds {
		if (t.Holds() || !fds[i].Cloexec) && p.table.find(fds[i].FD) == nil {
			return false
		}
	}
	return !t.Holds() || len(fds) == len(p.table.fds)
}
