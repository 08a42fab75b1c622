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

// sharing reads back which tasks share a table. It leaves out a task that has ended. If it
// cannot compare others, it records the reason.
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
	// A task may end at any moment, also one with which others are compared.
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

// comparable returns the tasks whose tables can be compared.
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

// SharedTables returns, for each task, the task whose table it shares, as kcmp(2)
// shows: of several tasks with one table the first that describes a table. nil means
// that the table is the task's own. pids are the pids of the tasks. The error reports
// that a task has ended, or wraps that of kcmp.
func SharedTables(tasks []*tasktree.Task, pids []int) ([]*tasktree.Task, error) {
	type seen struct {
		pid   int
		owner *tasktree.Task
	}
	var tables []*seen // in the order of kcmp
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
