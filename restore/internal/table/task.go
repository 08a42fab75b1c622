package table

import (
	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// Task is the table of one task while its restore is planned: its present and its final
// content. It is reused for the next task, because most tasks of a large tree are small
// and alike.
type Task struct {
	Table
	Targets []*tasktree.Descriptor // the final content, by ascending number
	Limit   uint64                 // the hard RLIMIT_NOFILE: all numbers are below it

	wanted  Numbered[*tasktree.Descriptor]
	places  ByFile[int]    // a number of each open file, from which it is installed
	cloexec Numbered[bool] // whether a number has FD_CLOEXEC now
}

// NewTask returns a Task for a tree with that many open files, whose kinds have at most that
// many ends.
func NewTask(files, ends int, limit uint64) Task {
	return Task{Limit: limit, places: NewByFile[int](files, ends)}
}

// Begin empties the table for a task. targets are its descriptors, by ascending number.
func (t *Task) Begin(task *tasktree.Task, targets []*tasktree.Descriptor) {
	t.At.Reset()
	t.Free = 0
	t.wanted.Reset()
	t.cloexec.Reset()
	t.places.Reset()
	t.Targets = targets
	for i := range task.FDs {
		d := &task.FDs[i]
		t.wanted.Set(d.FD, d)
	}
}

// Wants returns the described descriptor of a number, nil if there is none.
func (t *Task) Wants(n int) *tasktree.Descriptor {
	d, _ := t.wanted.Get(n)
	return d
}

// WantsEnd returns the described descriptor of a number, nil unless it has that open file.
func (t *Task) WantsEnd(n int, fe plan.FileEnd) *tasktree.Descriptor {
	if d := t.Wants(n); d != nil && plan.EndOf(d) == fe {
		return d
	}
	return nil
}

// Place returns the number from which an open file is installed, if it has one.
func (t *Task) Place(fe plan.FileEnd) (n int, there bool) { return t.places.Get(fe) }

// SetPlace sets the number from which an open file is installed.
func (t *Task) SetPlace(fe plan.FileEnd, n int) { t.places.Set(fe, n) }

// Closes reports whether a number has FD_CLOEXEC.
func (t *Task) Closes(n int) bool {
	cloexec, _ := t.cloexec.Get(n)
	return cloexec
}

// SetCloexec records whether a number has FD_CLOEXEC.
func (t *Task) SetCloexec(n int, cloexec bool) { t.cloexec.Set(n, cloexec) }

// Put records that a number refers to an open file now, with or without FD_CLOEXEC, and that the
// file is installed from there.
func (t *Task) Put(n int, fe plan.FileEnd, cloexec bool) {
	t.Take(n, fe)
	t.SetPlace(fe, n)
	t.SetCloexec(n, cloexec)
}

// Spare returns the lowest allowed number that is not described, and that is free or refers to
// something that this task does not need. It returns -1 if there is none.
func (t *Task) Spare() int {
	for n := 0; uint64(n) < t.Limit; n++ {
		what, taken := t.At.Get(n)
		if taken && what.File >= 0 {
			at, needed := t.Place(what)
			taken = needed && at == n
		}
		if !taken && t.Wants(n) == nil {
			return n
		}
	}
	return -1
}

// Extra returns the numbers that are taken and not described, ascending.
func (t *Task) Extra() []int {
	var extra []int
	for n := range t.At.All() {
		if t.Wants(n) == nil {
			extra = append(extra, n)
		}
	}
	return extra
}
