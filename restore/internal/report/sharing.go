package report

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/tasktree"
)

// sharing reads back who shares a table. What cannot be seen is left out: that
// of a task that has ended without a word, else with the reason.
func (rep *Report) sharing(t *tasktree.Tree) {
	var tasks []*tasktree.Task
	var pids []int
	shared := map[*tasktree.Task]bool{}
	for _, task := range t.Tasks() {
		shared[task.Owner] = true
	}
	for i, task := range t.Tasks() {
		if task.Sharer() || shared[task] {
			tasks, pids = append(tasks, task), append(pids, rep.Tasks[i].HostPID)
		}
	}
	if len(tasks) == 0 {
		return
	}
	if err := proc.Compares(); err != nil {
		rep.Unseen = append(rep.Unseen, fmt.Sprintf("the report does not say which tasks share a table: kcmp is refused by a sandbox, or missing: %v", err))
		return
	}
	// A task may end at any moment, and be the one to compare with.
	const tries = 10
	for range tries {
		tasks, pids = rep.comparable(tasks, pids)
		owners, err := SharedTables(tasks, pids)
		if err != nil {
			continue
		}
		for i, task := range tasks {
			if owners[i] != nil {
				rep.Tasks[task.Index].Shares = &SharesReport{owners[i].Name}
			}
		}
		return
	}
	rep.Unseen = append(rep.Unseen, "the report does not say which tasks share a table: they end faster than they can be compared")
}

// comparable gives the tasks whose tables can be compared.
func (rep *Report) comparable(tasks []*tasktree.Task, pids []int) (some []*tasktree.Task, theirs []int) {
	for i, task := range tasks {
		switch _, err := proc.CompareTables(os.Getpid(), pids[i]); {
		case err == nil:
			some, theirs = append(some, task), append(theirs, pids[i])
		case !errors.Is(err, unix.ESRCH):
			rep.Unseen = append(rep.Unseen, fmt.Sprintf("the report does not say with whom task %q shares a table: %v", task.Name, err))
		}
	}
	return some, theirs
}

// SharedTables gives for each task the one whose table it has, by the kernel's word
// (kcmp(2)): of several tasks with one table the first that describes one. nil: the
// table is the task's own. pids are the numbers of the tasks. The error says that one
// has ended, or wraps that of kcmp.
func SharedTables(tasks []*tasktree.Task, pids []int) ([]*tasktree.Task, error) {
	type seen struct {
		pid   int
		owner *tasktree.Task
	}
	var tables []*seen // in the kernel's order of them
	has := make([]*seen, len(tasks))
	for i, task := range tasks {
		var failed error
		at, known := slices.BinarySearchFunc(tables, pids[i], func(t *seen, pid int) int {
			order, err := proc.CompareTables(t.pid, pid)
			if err != nil {
				failed = err
			}
			return proc.Order(order)
		})
		if failed != nil {
			return nil, fmt.Errorf("restore: %w", failed)
		}
		if !known {
			tables = slices.Insert(tables, at, &seen{pids[i], task})
		}
		has[i] = tables[at]
		if has[i].owner.Sharer() && !task.Sharer() {
			has[i].owner = task
		}
	}
	owners := make([]*tasktree.Task, len(tasks))
	for i, task := range tasks {
		if has[i].owner != task {
			owners[i] = has[i].owner
		}
	}
	return owners, nil
}
