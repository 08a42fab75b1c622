package tasktree

import "fmt"

// Sharer reports whether the task shares the descriptor table of another task
// ([Task.Owner]).
func (t *Task) Sharer() bool { return t.Owner != nil }

// Table returns the task that describes this one's descriptor table: the task itself, or
// the task with which it shares the table.
func (t *Task) Table() *Task {
	if t.Owner != nil {
		return t.Owner
	}
	return t
}

// shares applies the rules of shared tables. All tasks must be known.
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
	asks := map[*Task]*Task{} // by task: the first sharer because of which it is Carried
	for _, t := range sharers {
		c.carry(t, depth, asks)
	}
	for _, t := range c.tree.tasks {
		c.leaves(t, asks)
	}
}

// shareRule checks one task's shares.files and sets its owner.
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
		return bad("task %q shares the table of task %q; list the descriptors there and drop fds here", t.Name, owner.Name)
	case t.Cloexec.Said():
		c.bad(t.Cloexec.pos(), c.paths[t.Index].Sub("cloexec"),
			"task %q shares the table of task %q; set close-on-exec there and drop cloexec here", t.Name, owner.Name)
		return false
	}
	t.Owner = owner
	return true
}

// owner follows a chain of sharers to its end and returns the name of the owner. circle
// reports that there is none.
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

// carry marks the tasks on the path between a sharer and the owner of its table: from
// both up to their common ancestor.
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
			c.badShare(sharer, "the table of task %q must pass through task %q, which is already forked with the table of %q%s, and a task is forked with one table; move task %[1]q or this task, so that the path between them avoids %[2]q",
				sharer.Owner.Name, a.Name, a.Carried.Name, alsoAt(asks[a].SharesFiles.Pos))
			return
		}
		a = a.Parent
	}
}

// leaves refuses a task that would have to leave its shared table, to fork children with
// another table, and to return to it.
func (c *checker) leaves(t *Task, asks map[*Task]*Task) {
	if t.Carried == nil || t.Carried != t.Table() {
		return
	}
	for _, child := range t.Children {
		if child.Carried != nil && child.Carried != t.Carried {
			c.badShare(asks[child], "to fork a child with the table of task %q, task %q would have to leave the table of %q, and a task cannot return to a table; move one of the tasks that share, so that only one table passes through %[2]q",
				child.Carried.Name, t.Name, t.Carried.Name)
			return
		}
	}
}
