package runner

import (
	"time"

	"regrow/internal/proc"
	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// Report says what was restored. Its JSON form is fixed.
type Report struct {
	Version int          `json:"version"` // 1
	Tasks   []TaskReport `json:"tasks"`   // in the order of the description, depth first
	Store   StoreReport  `json:"store"`
	Elapsed Nanoseconds  `json:"elapsed_ns"` // from the first clone to release

	// Replaced has the open files in whose place descriptors of the caller's
	// came, nil for none.
	Replaced []plan.Replaced `json:"replaced,omitempty"`

	// Unseen says what the report leaves out because the kernel did not tell,
	// and why; nil: nothing.
	Unseen []string `json:"-"`
}

// TaskReport is one task of a [Report].
type TaskReport struct {
	Name    string `json:"name"`
	Parent  string `json:"parent"`   // "" for the root
	PID     int    `json:"pid"`      // inside the tree's pid namespace
	HostPID int    `json:"host_pid"` // as the caller sees it; in a pid namespace 0 if it had already ended
	FDs     []int  `json:"fds"`      // ascending; a program has lost the close-on-exec ones

	// Shares is what the task shares with another one, by kcmp(2), nil for
	// nothing, or where that was not to be seen. A program has a copy of a table
	// that it shared before.
	Shares *SharesReport `json:"shares,omitempty"`
}

// SharesReport says with which task something is shared.
type SharesReport struct {
	Files string `json:"files"` // the task whose descriptor table it is
}

// StoreReport says what went through the store.
type StoreReport struct {
	OpenFiles int `json:"open_files"`
	Messages  int `json:"messages"`
}

// Nanoseconds is a duration that JSON shows as a number of nanoseconds.
type Nanoseconds time.Duration

// report fills in a Report while the arena is still there.
func (r *run) report() Report {
	rep := Report{
		Version: 1,
		Store:   StoreReport{OpenFiles: r.plan.OpenFiles(), Messages: len(r.plan.Messages)},
		Elapsed: Nanoseconds(r.elapsed), Replaced: plan.Replacements(r.plan.Tree),
	}
	own := r.plan.Tree.HasNamespace(tasktree.NamespacePID)
	for i, task := range r.plan.Tree.Tasks() {
		tr := TaskReport{Name: task.Name, PID: int(r.arena.Record(i).PID), FDs: []int{}}
		tr.HostPID = tr.PID
		if task.Parent != nil {
			tr.Parent = task.Parent.Name
		}
		if own {
			tr.HostPID = 0
		}
		tr.FDs = append(tr.FDs, numbers(r.plan, task)...)
		rep.Tasks = append(rep.Tasks, tr)
	}
	if own {
		rep.Tasks[0].PID, rep.Tasks[0].HostPID = 1, r.root.PID
		hostPIDs(rep.Tasks, func() ([]proc.Status, int) { return proc.Below(r.root) }, r.pidInTree)
	}
	r.sharing(&rep)
	return rep
}

// numbers gives the descriptors that a task has once it holds or runs.
func numbers(p *plan.Plan, task *tasktree.Task) []int {
	var numbers []int
	for _, d := range p.Sorted(nil, task.Table()) {
		if task.Holds() || !d.Cloexec {
			numbers = append(numbers, d.FD)
		}
	}
	return numbers
}

// hostPIDs finds the numbers that tasks of a pid namespace have outside: each process
// under the root, which is the first of tasks, tells both. A look may miss processes
// while others end, as programs do by now; so as long as one has, and a number is
// lacking, it looks again, some times. What then has none was waited for, or ends.
func hostPIDs(tasks []TaskReport, below func() (all []proc.Status, missed int), pidInTree func(host int) int) {
	const looks = 8
	byPID := make(map[int]int, len(tasks))
	for i := range tasks[1:] {
		byPID[tasks[1+i].PID] = 1 + i
	}
	for range looks {
		all, missed := below()
		for _, p := range all {
			pid := pidInTree(p.PID)
			if i, lacks := byPID[pid]; lacks && p.Exists() {
				tasks[i].HostPID = p.PID
				delete(byPID, pid)
			}
		}
		if len(byPID) == 0 || missed == 0 {
			return
		}
	}
}

// ended gives the processes below the root that have ended and that nobody has waited
// for, by their numbers in the tree's pid namespace. It is an error if there is no
// descriptor left for a look at them.
func (r *run) ended() (map[int]bool, error) {
	if err := proc.Readable(); err != nil {
		return nil, err
	}
	root, err := identified(r.root)
	if err != nil {
		return nil, err
	}
	ended := map[int]bool{}
	for _, p := range proc.Descendants(root) {
		if p.Ended() {
			ended[r.pidInTree(p.PID)] = true
		}
	}
	return ended, nil
}

// pidInTree gives the number of a process in the tree's pid namespace, 0 if it is
// gone.
func (r *run) pidInTree(host int) int {
	if !r.plan.Tree.HasNamespace(tasktree.NamespacePID) {
		return host
	}
	return proc.InnerPID(host)
}
