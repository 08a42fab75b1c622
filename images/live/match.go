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
// open files that the task has, else the program, in their order. Many children have no
// order, since several processes have forked them, and often run the same program.
//
// A name may be what is wrong, and a program may have become another one:
// what is left is matched by the numbers of its descriptors, and last, below a parent that
// starts nothing by itself, programs by their order.
func match(tree *tasktree.Tree, seen *Seen, paths *resolver) matching {
	m := matching{map[*tasktree.Task]*process{}, map[*process]*tasktree.Task{}, nil}
	if slices.ContainsFunc(tree.Tasks(), func(t *tasktree.Task) bool { return !t.Holds() }) {
		m.fit = newFitting(tree, seen.own, paths)
	}
	m.are(tree.Root, seen.procs[0])
	for _, t := range tree.Tasks() {
		if p := m.process[t]; p != nil {
			m.children(tree, t.Children, p.children)
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

func (m matching) children(tree *tasktree.Tree, tasks []*tasktree.Task, processes []*process) {
	hasPID := func(t *tasktree.Task) bool { return t.PID.Value > 0 }
	programs := func(t *tasktree.Task) bool { return !t.Holds() } // then m.fit is not nil
	for _, by := range []struct {
		of   func(*tasktree.Task) bool // whom it is for: there may be 10,000 tasks
		same func(*tasktree.Task, *process) bool
	}{
		{hasPID, func(t *tasktree.Task, p *process) bool { return int64(p.inner(tree)) == t.PID.Value }},
		{(*tasktree.Task).Holds, hasName},
		{programs, func(t *tasktree.Task, p *process) bool { return m.fit.fits(t, p) }},
		{programs, runs},
		{programs, hasProgram},
		{func(*tasktree.Task) bool { return true }, sameNumbers},
		{programs, func(t *tasktree.Task, _ *process) bool { return t.Parent.Holds() }},
	} {
		next := 0 // most children come in the order of the description
		for _, t := range tasks {
			if m.process[t] != nil || !by.of(t) {
				continue
			}
			for i := range processes {
				p := processes[(next+i)%len(processes)]
				if m.task[p] == nil && by.same(t, p) {
					m.are(t, p)
					next = (next + i + 1) % len(processes)
					break
				}
			}
		}
	}
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
