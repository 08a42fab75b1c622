package model

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// Model runs the programs of a plan on descriptor tables, by the kernel's rules. It
// does not share the planner's code for tables, so that one can contradict the other.
//
// In a careful plan every op must have the planned result, nothing that is needed may
// be lost, and each final table must be as described. In a naive plan the model records
// what is lost, and by which op.
type Model struct {
	plan  *plan.Plan
	visit func(task, op int, changed map[int]Cell) // after each op; may be nil
	Later bool                                     // a parent goes on before a new child; else the child runs first

	Tables   []*Table                 // by task; nil: not forked yet
	wants    [][]*tasktree.Descriptor // by task, see wantOf
	pcs      []int
	runnable []int
	waits
	sockets  map[wire.Word]wire.Word
	lentAt   map[uint64]plan.FileEnd // by cell
	working  []map[uint64]bool       // by task: addresses of the pids of its fork helpers that it has not reaped
	task, at int                     // the present op

	Failed     []Failure // by task
	collisions []collision
	seen       map[*event]bool
	wrong      []bool
	life       []life
	helpers    []int // by task: most helpers at a time
	own        []int // by task: helpers of a sharer in its owner's table now
	top        int   // highest number that any table has had, plus one
}

// Failure is the first op of a task that fails and may fail.
type Failure struct {
	Op    int
	Errno unix.Errno // 0: none
}

// collision is a descriptor that was needed and that an op destroyed.
type collision struct {
	*event
	lost string
}

// opFails is the error of an op that the kernel refuses.
type opFails struct{ errno unix.Errno }

func (e opFails) Error() string { return e.errno.Error() }

// Verify runs the plan on a model of descriptor tables and checks every op by the kernel's
// rules, every planned number, and each final table against the description. An error means
// that the planner has a bug. Losses of a naive plan are not errors, see [Predict].
func Verify(p *plan.Plan) error {
	_, err := Simulate(p, nil)
	return err
}

// Simulate runs a plan to its end. It calls visit, which may be nil, after each op with the
// cells that the op has changed.
func Simulate(p *plan.Plan, visit func(task, op int, changed map[int]Cell)) (*Model, error) {
	m := New(p)
	m.visit = visit
	return m, m.Run()
}

// New returns a model of a plan, before its first op.
func New(p *plan.Plan) *Model {
	n := len(p.Tasks)
	m := &Model{
		plan: p, Tables: make([]*Table, n), wants: make([][]*tasktree.Descriptor, n), pcs: make([]int, n), Failed: make([]Failure, n),
		working: make([]map[uint64]bool, n), helpers: make([]int, n), own: make([]int, n), wrong: make([]bool, n), life: make([]life, n),
		waits: waits{waiting: map[uint64][]int{}, counts: map[uint64]uint32{}}, lentAt: map[uint64]plan.FileEnd{}, seen: map[*event]bool{},
	}
	for _, l := range p.Lent {
		m.lentAt[l.Cell] = l.FileEnd
	}
	return m
}

// Run runs all programs.
func (m *Model) Run() error {
	if err := checkRunner(m.plan); err != nil {
		return err
	}
	m.followPIDs()
	m.begin(0, &Table{m: m})
	for len(m.runnable) > 0 {
		last := len(m.runnable) - 1
		i := m.runnable[last]
		m.runnable = m.runnable[:last]
		if err := m.goOn(i); err != nil {
			return err
		}
	}
	if err := m.checkWaits(); err != nil {
		return err
	}
	owners := map[*Table]*tasktree.Task{}
	for i, t := range m.Tables {
		if t == nil {
			return fmt.Errorf("restore: bug: the plan does not fork task %q", m.name(i))
		}
		if !m.life[i].ready {
			return fmt.Errorf("restore: bug: task %q is never counted as ready, so none is released", m.name(i))
		}
		owner := m.plan.Tree.Tasks()[i].Table()
		if other, seen := owners[t]; seen && other != owner || m.Tables[owner.Index] != t {
			return fmt.Errorf("restore: bug: task %q does not have the table of %q, or not alone", m.name(i), owner.Name)
		}
		owners[t] = owner
		if err := m.ended(i); err != nil {
			return err
		}
		if err := m.compare(i, t); err != nil {
			return fmt.Errorf("restore: bug: task %q: %w", m.name(i), err)
		}
	}
	return nil
}

func (m *Model) name(task int) string { return m.plan.Tree.Tasks()[task].Name }

// begin starts a task with a table.
func (m *Model) begin(i int, t *Table) {
	m.Tables[i] = t
	m.born(i)
	m.runnable = append(m.runnable, i)
}

// goOn runs a task until it ends, waits, or has forked.
func (m *Model) goOn(i int) error {
	prog := &m.plan.Tasks[i]
	for ; m.pcs[i] < len(prog.Ops); m.pcs[i]++ {
		op, note := &prog.Ops[m.pcs[i]], prog.Notes[m.pcs[i]]
		if !m.mayGoOn(i, op) {
			return nil
		}
		if err := m.step(i, op, note); err != nil {
			return fmt.Errorf("restore: bug: task %q: op %d (%s): %w", m.name(i), m.pcs[i], words.OpName(op), err)
		}
		if op.Kind != program.OpFork {
			continue
		}
		m.pcs[i]++
		m.runnable = append(m.runnable, i)
		if err := m.fork(i, op); err != nil {
			return err
		}
		if n := len(m.runnable); m.Later {
			m.runnable[n-1], m.runnable[n-2] = m.runnable[n-2], m.runnable[n-1]
		}
		return nil
	}
	return nil
}

// step applies one op of a task and counts the task's helpers.
func (m *Model) step(i int, op *program.Op, note program.Note) error {
	t := m.Tables[i]
	m.task, m.at = i, m.pcs[i]
	if err := m.life[i].may(op); err != nil {
		return err
	}
	clear(t.changed)
	err := step{m, t, op, note}.apply()
	if fails, ok := errors.AsType[opFails](err); ok {
		switch {
		case op.Allow != 0 && fails.errno == unix.Errno(op.Allow):
			err = nil
		case op.Flags&program.FlagNote != 0:
			err = nil
			if m.Failed[i].Errno == 0 {
				m.Failed[i] = Failure{m.at, fails.errno}
			}
		}
	}
	if err != nil {
		return err
	}
	if m.plan.Tree.Tasks()[i].Sharer() {
		m.helpers[i] = max(m.helpers[i], m.own[i])
	} else {
		m.helpers[i] = max(m.helpers[i], t.extras)
	}
	if m.visit != nil {
		m.visit(i, m.at, t.changed)
	}
	return nil
}

// wantOf returns the descriptors of the owner of a table, by number.
func (m *Model) wantOf(owner *tasktree.Task) []*tasktree.Descriptor {
	want := m.wants[owner.Index]
	if want == nil {
		want = m.plan.Sorted(nil, owner)
		m.wants[owner.Index] = want
	}
	return want
}

// fork starts a child with its table: a copy, or the same one.
func (m *Model) fork(i int, op *program.Op) error {
	child := int(op.Args[1])
	if m.Tables[child] != nil {
		return fmt.Errorf("restore: bug: task %q is forked twice", m.name(child))
	}
	flags := program.WordsAt(m.plan.Arena.Base, m.plan.Arena.Data(), op.Args[0], 1)
	if flags != nil && flags[0]&unix.CLONE_FILES != 0 {
		m.Tables[i].setWant(m.wantOf(m.plan.Tree.Tasks()[child].Carried))
		m.begin(child, m.Tables[i])
		return nil
	}
	m.begin(child, m.Tables[i].copyFor(m.wantOf(m.plan.Tree.Tasks()[child].Table())))
	return nil
}

// compare compares a final table with the description. In a naive plan it attributes each
// difference to the op that destroyed the descriptor.
func (m *Model) compare(i int, t *Table) error {
	task := m.plan.Tree.Tasks()[i]
	want := m.wantOf(task.Table())
	for _, d := range want {
		c, ok := t.Cells.Get(d.FD)
		if ok && c.What == plan.EndOf(d) && c.Cloexec == d.Cloexec && !c.Look {
			continue
		}
		if !m.plan.Options.Naive {
			return fmt.Errorf("fd %d is finally %+v, want file %q, cloexec %v", d.FD, c, d.File.Value, d.Cloexec)
		}
		m.wrong[i] = true
		m.lost(t, d.FD, plan.EndOf(d), fmt.Sprintf("fd %d, installed from file %q at line %d", d.FD, d.File.Value, d.Pos.Line))
	}
	if t.Cells.Count == len(want) {
		return nil
	}
	if !m.plan.Options.Naive {
		for n, c := range t.Cells.All() {
			if c.What == plan.Helper {
				return fmt.Errorf("finally number %d still refers to %q, which was opened for a while", n, m.plan.Extras[c.opened].Path)
			}
		}
		return fmt.Errorf("finally %d descriptors (%v), want %d", t.Cells.Count, t.Cells.Numbers(), len(want))
	}
	m.wrong[i] = true
	return nil
}

// expect records a collision if number n does not refer to what an op of a naive plan needs
// there.
func (m *Model) expect(t *Table, n int, what plan.FileEnd, lost func() string) {
	if c, ok := t.Cells.Get(n); m.plan.Options.Naive && (!ok || c.What != what) {
		m.lost(t, n, what, lost())
	}
}

// lost attributes a loss to the last op that destroyed the descriptor. There is none if the
// descriptor was never there, because an earlier op failed.
func (m *Model) lost(t *Table, n int, what plan.FileEnd, lost string) {
	for _, e := range slices.Backward(t.events) {
		if e.number != n || e.was.What != what {
			continue
		}
		if !m.seen[e] {
			m.seen[e] = true
			m.collisions = append(m.collisions, collision{e, lost})
		}
		return
	}
}
