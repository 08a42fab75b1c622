package table

import (
	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// Task is the table of one task while its restore is planned: what it holds now, and
// what it is to hold in the end. It is used again for the next task, since most of a
// large tree's tasks are small and alike.
type Task struct {
	Table
	Targets []*tasktree.Descriptor // what it is to hold, by ascending number
	Limit   uint64                 // the hard RLIMIT_NOFILE: all numbers are below

	wanted  Numbered[*tasktree.Descriptor]
	places  ByFile[int]    // where each open file is taken from
	cloexec Numbered[bool] // whether a number in place has FD_CLOEXEC now
}

// NewTask makes a Task for a tree with so many open files, whose kinds have at most so
// many ends, and for a limit.
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

// Wants gives the descriptor that is to be at a number, nil if there is none.
func (t *Task) Wants(n int) *tasktree.Descriptor {
	d, _ := t.wanted.Get(n)
	return d
}

// WantsEnd gives the descriptor that is to be at a number, nil unless it is of that
// open file.
func (t *Task) WantsEnd(n int, fe plan.FileEnd) *tasktree.Descriptor {
	if d := t.Wants(n); d != nil && plan.EndOf(d) == fe {
		return d
	}
	return nil
}

// Place gives the number where an open file is taken from, and whether there is one.
func (t *Task) Place(fe plan.FileEnd) (n int, there bool) { return t.places.Get(fe) }

// SetPlace says from which number an open file is taken from now on.
func (t *Task) SetPlace(fe plan.FileEnd, n int) { t.places.Set(fe, n) }

// Closes reports whether a number has FD_CLOEXEC.
func (t *Task) Closes(n int) bool {
	cloexec, _ := t.cloexec.Get(n)
	return cloexec
}

// SetCloexec says whether a number has FD_CLOEXEC.
func (t *Task) SetCloexec(n int, cloexec bool) { t.cloexec.Set(n, cloexec) }

// Put says that an open file is at a number now, with or without FD_CLOEXEC, and is
// taken from there.
func (t *Task) Put(n int, fe plan.FileEnd, cloexec bool) {
	t.Take(n, fe)
	t.SetPlace(fe, n)
	t.SetCloexec(n, cloexec)
}

// Spare gives the lowest number that is free or holds what this task does not
// need, is not described and is allowed, or -1.
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

// Extra gives the numbers that are taken and not described, ascending.
func (t *Task) Extra() []int {
	var extra []int
	for n := range t.At.All() {
		if t.Wants(n) == nil {
			extra = append(extra, n)
		}
	}
	return extra
}
