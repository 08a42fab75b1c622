package tasktree

import "fmt"

// Sharer reports whether the task has no descriptor table of its own, but that of
// another task ([Task.Owner]).
func (t *Task) Sharer() bool { return t.Owner != nil }

// Table gives the task whose descriptor table this one has, and that describes
// it: the task itself, or the one that it shares with.
func (t *Task) Table() *Task {
	if t.Owner != nil {
		return t.Owner
	}
	return t
}

// shares applies the rules of shared tables, once every task is known.
func (c *checker) shares() {
	var sharers []*Task
	for _, t := range c.tree.tasks {
		if t.SharesFiles.Value != "" && c.shareRule(t) {
			sharers = append(sharers, t)
		}
	}
	if len(sharers) == 0 {
		return
	}
	depth := make([]int, len(c.tree.tasks))
	for _, t := range c.tree.tasks[1:] {
		depth[t.Index] = depth[t.Parent.Index] + 1
	}
	asks := map[*Task]*Task{} // who asked first for what a task carries
	for _, t := range sharers {
		c.carry(t, depth, asks)
	}
	for _, t := range c.tree.tasks {
		c.leaves(t, asks)
	}
}

// shareRule looks at what one task says, and notes whose table it has.
func (c *checker) shareRule(t *Task) bool {
	bad := func(format string, args ...any) bool {
		c.badShare(t, format, args...)
		return false
	}
	owner := c.tasks[t.SharesFiles.Value]
	switch {
	case owner == nil:
		hint := ""
		if best := c.nearest(t.SharesFiles.Value, c.taskNames()); best != "" {
			hint = fmt.Sprintf(" (did you mean %q?)", best)
		}
		return bad("unknown task %q%s", t.SharesFiles.Value, hint)
	case owner == t:
		return bad("task %q shares its table with itself", t.Name)
	case owner.SharesFiles.Value != "":
		end, circle := c.owner(t)
		if circle {
			return bad("task %q shares the table of %q, and so on in a circle; give one of them a table of its own", t.Name, owner.Name)
		}
		return bad("task %q has no table of its own but shares that of %q; write %q", owner.Name, end, end)
	case len(t.FDs) > 0:
		return bad("task %q shares the table of task %q, where it is described; drop fds here", t.Name, owner.Name)
	case t.Cloexec.Said():
		c.bad(t.Cloexec.pos(), c.paths[t.Index].Sub("cloexec"),
			"task %q shares the table of task %q, where it is described; say there what is close-on-exec, and drop cloexec here", t.Name, owner.Name)
		return false
	}
	t.Owner = owner
	return true
}

// owner follows a chain of tasks that share, to the name of the one at its end.
// It reports true if there is none.
func (c *checker) owner(t *Task) (name string, circle bool) {
	for range c.tree.tasks {
		name = t.SharesFiles.Value
		next := c.tasks[name]
		if next == nil || next.SharesFiles.Value == "" {
			return name, false
		}
		t = next
	}
	return "", true
}

func (c *checker) badShare(t *Task, format string, args ...any) {
	c.bad(t.SharesFiles.Pos, c.paths[t.Index].Sub("shares").Sub("files"), format, args...)
}

// taskNames lists the names of all tasks.
func (c *checker) taskNames() []string {
	if c.names == nil {
		for _, t := range c.tree.tasks {
			c.names = append(c.names, t.Name)
		}
	}
	return c.names
}

// carry finds the way that a table takes from its owner to a sharer: up from both
// to where the ways meet.
func (c *checker) carry(sharer *Task, depth []int, asks map[*Task]*Task) {
	a, b := sharer, sharer.Owner
	for a != b {
		if depth[a.Index] < depth[b.Index] {
			a, b = b, a
		}
		switch a.Carried {
		case nil:
			a.Carried, asks[a] = sharer.Owner, sharer
		case sharer.Owner:
		default:
			c.badShare(sharer, "the table of task %q would have to pass through task %q, which is forked with that of %q already%s: a task is made with one table (move this task or %[1]q, so that no other table's way leads through %[2]q)",
				sharer.Owner.Name, a.Name, a.Carried.Name, alsoAt(asks[a].SharesFiles.Pos))
			return
		}
		a = a.Parent
	}
}

// leaves refuses a task that would have to leave its table for another one, for
// its children to share, and to come back to it.
func (c *checker) leaves(t *Task, asks map[*Task]*Task) {
	if t.Carried == nil || t.Carried != t.Table() {
		return
	}
	for _, child := range t.Children {
		if child.Carried != nil && child.Carried != t.Carried {
			c.badShare(asks[child], "the table of task %q would have to be that of task %q for a while, which is forked with the one of %q and could not come back to it",
				child.Carried.Name, t.Name, t.Carried.Name)
			return
		}
	}
}
