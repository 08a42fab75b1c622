package report

import (
	"slices"
	"time"

	"regrow/internal/proc"
	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// Report is the result of a restore. Its JSON form is fixed.
type Report struct {
	Version int          `json:"version"` // 1
	Tasks   []TaskReport `json:"tasks"`   // in the order of the description, depth first
	Store   StoreReport  `json:"store"`
	Elapsed Nanoseconds  `json:"elapsed_ns"` // from the first clone to release

	// Replaced lists the open files that descriptors of the caller's replace, nil for
	// none.
	Replaced []plan.Replaced `json:"replaced,omitempty"`

	// Learned has the numbers that were known only when the files were made, by file and
	// by key; nil for none.
	Learned map[string]map[string]uint64 `json:"learned,omitempty"`

	// Unseen lists what the report lacks because the kernel did not show it, and why; nil
	// for nothing.
	Unseen []string `json:"-"`
}

// TaskReport is one task of a [Report].
type TaskReport struct {
	Name    string `json:"name"`
	Parent  string `json:"parent"`   // "" for the root
	PID     int    `json:"pid"`      // inside the tree's pid namespace
	HostPID int    `json:"host_pid"` // as the caller sees it; 0 if the task is in a pid namespace and had already ended
	FDs     []int  `json:"fds"`      // ascending; without the close-on-exec ones if the task runs a program

	// Shares is what the task shares with another one, by kcmp(2); nil if it shares
	// nothing, or if that is not visible. A program has a copy of a table that it shared
	// before.
	Shares *SharesReport `json:"shares,omitempty"`
}

// SharesReport names the task with which something is shared.
type SharesReport struct {
	Files string `json:"files"` // the owner of the descriptor table
}

// StoreReport counts what went through the store.
type StoreReport struct {
	OpenFiles int `json:"open_files"`
	Messages  int `json:"messages"`
}

// Nanoseconds is a duration that is a number of nanoseconds in JSON.
type Nanoseconds time.Duration

// New makes the report of a released tree. inner and host are the pids of its tasks in its own
// pid namespace and in the caller's, see [HostPIDs]. elapsed is the time from the first clone to
// release.
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

// numbers returns the descriptors of a task after release.
func numbers(p *plan.Plan, task *tasktree.Task) []int {
	var numbers []int
	for _, d := range p.Sorted(nil, task.Table()) {
		if task.Holds() || !d.Cloexec {
			numbers = append(numbers, d.FD)
		}
	}
	return numbers
}

// HostPIDs returns the pids of a tree's tasks in the caller's pid namespace, 0 for a task that
// was reaped or is ending. root is the first task. inner are the pids in the tree's own pid
// namespace; they are the same if the tree has none.
func HostPIDs(t *tasktree.Tree, root proc.ID, inner []int) []int {
	if !t.HasNamespace(tasktree.NamespacePID) {
		return slices.Clone(inner)
	}
	below := func() ([]proc.Status, int) { return proc.Below(root) }
	return hostPIDs(root.PID, inner, below, proc.InnerPID)
}

// hostPIDs examines each process below the root, which shows both pids. One pass may
// miss processes while others end. So it repeats the pass a few times, as long as a
// pass has missed some and a pid is missing. A task without a pid then was reaped, or
// is ending.
func hostPIDs(root int, inner []int, below func() (all []proc.Status, missed int), innerPID func(host int) int) []int {
	const looks = 8
	host := make([]int, len(inner))
	host[0] = root
	lacks := make(map[int]int, len(inner)) // tasks by their pid in the tree
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
