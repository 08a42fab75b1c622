package model

import (
	"slices"

	"regrow/fdstore/wire"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/table"
	"regrow/tasktree"
)

// Cell is what a number of a simulated table holds.
type Cell struct {
	What    plan.FileEnd
	Look    bool // only an O_PATH view of the file
	Cloexec bool
	opened  int32     // of a helper: the Extra of what opened it, which has the path
	socket  wire.Word // of the message that carries a socket of the store, 0: the root
}

// Table is a descriptor table as the kernel would have it.
type Table struct {
	m       *Model
	want    []*tasktree.Descriptor // what it shall be, ascending
	Cells   table.Numbered[Cell]
	low     int          // no number below is free
	extras  int          // cells that are not as described
	changed map[int]Cell // what the op that runs has changed; nothing: free now
	events  []*event     // of a naive plan
}

// event is the end of what a number held.
type event struct {
	task, op int
	number   int
	was      Cell
}

// copyFor gives a copy for a task that shall have other descriptors.
func (t *Table) copyFor(want []*tasktree.Descriptor) *Table {
	c := &Table{m: t.m, Cells: t.Cells.Clone(), low: t.low}
	c.shall(want)
	return c
}

// shall says what the table is to be in the end.
func (t *Table) shall(want []*tasktree.Descriptor) {
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

// leave is for the end of what a number holds.
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

// next gives the number that the kernel gives out next: the lowest free one.
func (t *Table) next() int {
	for {
		if !t.Cells.Has(t.low) {
			return t.low
		}
		t.low++
	}
}

// wants reports whether number n holds this open file in the end. want is
// ascending.
func wants(want []*tasktree.Descriptor, n int, what plan.FileEnd) bool {
	i, ok := slices.BinarySearchFunc(want, n, func(d *tasktree.Descriptor, n int) int { return d.FD - n })
	return ok && plan.EndOf(want[i]) == what
}
