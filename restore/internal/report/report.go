package report

import (
	"slices"
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

	// Learned has the numbers that were known only when the files were made, by
	// the names of these and by key; nil for none.
	Learned map[string]map[string]uint64 `json:"learned,omitempty"`

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

// New reports a tree that was released. inner and host are the numbers of its tasks in
// its own pid namespace and in the caller's, see [HostPIDs]; elapsed is the time from the
// first clone to release.
func New(p *plan.Plan, inner, host []int, elapsed time.Duration) Report {
	rep := Report{
		Version: 1,
		Store:   StoreReport{OpenFiles: p.OpenFiles(), Messages: len(p.Messages)},
		Elapsed: Nanoseconds(elapsed), Replaced: plan.Replacements(p.Tree),
	}
	for i, task := range p.Tree.Tasks() {
		tr := TaskReport{Name: task.Name, PID: inner[i], HostPID: host[i], FDs: append([]int{}, numbers(p, task)...)}
		if task.Parent != nil {
			tr.Parent = task.Parent.Name
		}
		rep.Tasks = append(rep.Tasks, tr)
	}
	rep.sharing(p.Tree)
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

// HostPIDs gives the numbers that the tasks of a tree have in the caller's pid namespace,
// 0 for one that was waited for or ends. root is the first of them; inner has those of the
// tree's own pid namespace, which are the same if the tree has none.
func HostPIDs(t *tasktree.Tree, root proc.ID, inner []int) []int {
	if !t.HasNamespace(tasktree.NamespacePID) {
		return slices.Clone(inner)
	}
	below := func() ([]proc.Status, int) { return proc.Below(root) }
	return hostPIDs(root.PID, inner, below, proc.InnerPID)
}

// hostPIDs finds each process under the root, which tells both. A look may miss processes
// while others end, as programs do by now; so as long as one has, and a number is
// lacking, it looks again, some times. What then has none was waited for, or ends.
func hostPIDs(root int, inner []int, below func() (all []proc.Status, missed int), innerPID func(host int) int) []int {
	const looks = 8
	host := make([]int, len(inner))
	host[0] = root
	lacks := make(map[int]int, len(inner)) // tasks by their numbers in the tree
	for i, pid := range inner[1:] {
		lacks[pid] = 1 + i
	}
	for range looks {
		all, missed := below()
		for _, p := range all {
			pid := innerPID(p.PID)
			if i, ok := lacks[pid]; ok && p.Exists() {
				host[i] = p.PID
				delete(lacks, pid)
			}
		}
		if len(lacks) == 0 || missed == 0 {
			break
		}
	}
	return host
}
