package restore

import (
	"slices"

	"regrow/fdstore/wire"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/table"
	"regrow/tasktree"
)

// cell is what a number of a simulated table holds.
type cell struct {
	what    plan.FileEnd
	look    bool // only an O_PATH view of the file
	cloexec bool
	socket  wire.Word // of the message that carries a socket of the store, 0: the root
}

// modelTable is a descriptor table as the kernel would have it.
type modelTable struct {
	m       *model
	want    []*tasktree.Descriptor // what it shall be, ascending
	cells   table.Numbered[cell]
	low     int          // no number below is free
	extras  int          // cells that are not as described
	changed map[int]cell // what the op that runs has changed; nothing: free now
	events  []*event     // of a naive plan
}

// event is the end of what a number held.
type event struct {
	task, op int
	number   int
	was      cell
}

// copyFor gives a copy for a task that shall have other descriptors.
func (t *modelTable) copyFor(want []*tasktree.Descriptor) *modelTable {
	c := &modelTable{m: t.m, cells: t.cells.Clone(), low: t.low}
	c.shall(want)
	return c
}

// shall says what the table is to be in the end.
func (t *modelTable) shall(want []*tasktree.Descriptor) {
	t.want, t.extras = want, 0
	for n, held := range t.cells.All() {
		if !wants(want, n, held.what) {
			t.extras++
		}
	}
}

func (t *modelTable) put(n int, c cell) {
	t.leave(n)
	t.cells.Set(n, c)
	t.note(n, c)
	if !wants(t.want, n, c.what) {
		t.extras++
	}
	t.m.top = max(t.m.top, n+1)
}

func (t *modelTable) drop(n int) {
	t.leave(n)
	t.cells.Remove(n)
	t.note(n, cell{what: plan.Nothing})
	t.low = min(t.low, n)
}

// leave is for the end of what a number holds.
func (t *modelTable) leave(n int) {
	was, taken := t.cells.Get(n)
	if !taken {
		return
	}
	if !wants(t.want, n, was.what) {
		t.extras--
	}
	if t.m.plan.Options.Naive {
		t.events = append(t.events, &event{t.m.task, t.m.at, n, was})
	}
}

func (t *modelTable) note(n int, c cell) {
	if t.m.visit == nil {
		return
	}
	if t.changed == nil {
		t.changed = map[int]cell{}
	}
	t.changed[n] = c
}

// next gives the number that the kernel gives out next: the lowest free one.
func (t *modelTable) next() int {
	for {
		if !t.cells.Has(t.low) {
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
