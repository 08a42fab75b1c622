package model

import (
	"slices"

	"regrow/fdstore/wire"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/table"
	"regrow/tasktree"
)

// Cell is what a number of a simulated table refers to.
type Cell struct {
	What    plan.FileEnd
	Look    bool // opened with O_PATH
	Cloexec bool
	opened  int32     // of a helper: the Extra of the op that opened it, which has the path
	socket  wire.Word // word of the message that carries this socket of the store, 0: its root
}

// Table is a descriptor table as the kernel would have it.
type Table struct {
	m       *Model
	want    []*tasktree.Descriptor // the described descriptors, ascending
	Cells   table.Numbered[Cell]
	low     int          // no lower number is free
	extras  int          // number of cells that are not as described
	changed map[int]Cell // cells that the present op has changed; plan.Nothing: free now
	events  []*event     // of a naive plan
}

// event is the loss of what a number referred to.
type event struct {
	task, op int
	number   int
	was      Cell
}

// copyFor returns a copy for a task with other described descriptors.
func (t *Table) copyFor(want []*tasktree.Descriptor) *Table {
	c := &Table{m: t.m, Cells: t.Cells.Clone(), low: t.low}
	c.setWant(want)
	return c
}

// setWant sets the described descriptors.
func (t *Table) setWant(want []*tasktree.Descriptor) {
	t.want, t.extras = want, 0
	for n, held := range t.Cells.All() {
		if !wants(want, n, held.What) {
			t.extras++
		}
	}
}

func (t *Table) put(n int, c Cell) {
	t.leave(n)
	t.Cells.Set(n, c)
	t.note(n, c)
	if !wants(t.want, n, c.What) {
		t.extras++
	}
	t.m.top = max(t.m.top, n+1)
}

func (t *Table) drop(n int) {
	t.leave(n)
	t.Cells.Remove(n)
	t.note(n, Cell{What: plan.Nothing})
	t.low = min(t.low, n)
}

// leave records that a number loses what it refers to.
func (t *Table) leave(n int) {
	was, taken := t.Cells.Get(n)
	if !taken {
		return
	}
	if !wants(t.want, n, was.What) {
		t.extras--
	}
	if t.m.plan.Options.Naive {
		t.events = append(t.events, &event{t.m.task, t.m.at, n, was})
	}
}

func (t *Table) note(n int, c Cell) {
	if t.m.visit == nil {
		return
	}
	if t.changed == nil {
		t.changed = map[int]Cell{}
	}
	t.changed[n] = c
}

// next returns the number that the kernel assigns next: the lowest free one.
func (t *Table) next() int {
	for {
		if !t.Cells.Has(t.low) {
			return t.low
		}
		t.low++
	}
}

// wants reports whether number n is described to have this open file. want is ascending.
func wants(want []*tasktree.Descriptor, n int, what plan.FileEnd) bool {
	i, ok := slices.BinarySearchFunc(want, n, func(d *tasktree.Descriptor, n int) int { return d.FD - n })
	return ok && plan.EndOf(want[i]) == what
}
