package restore

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// cell is what a number of a simulated table holds.
type cell struct {
	what    fileEnd
	look    bool // only an O_PATH view of the file
	cloexec bool
	socket  fdstore.Word // of the message that carries a socket of the store, 0: the root
}

// modelTable is a descriptor table as the kernel would have it. It is written
// apart from the planner's view of a table, so that one can contradict the
// other.
type modelTable struct {
	cells map[int]cell
	low   int // no number below is free
}

func (t *modelTable) put(n int, c cell) { t.cells[n] = c }

func (t *modelTable) drop(n int) {
	delete(t.cells, n)
	t.low = min(t.low, n)
}

// next gives the number that the kernel gives out next: the lowest free one.
func (t *modelTable) next() int {
	for {
		if _, taken := t.cells[t.low]; !taken {
			return t.low
		}
		t.low++
	}
}

// model simulates the programs of a plan.
type model struct {
	plan  *Plan
	visit func(task, op int, t *modelTable) // after each op; may be nil
	ready map[int]bool                      // tasks that were forked
	// Which socket of the store carries which; made when it is first needed.
	sockets map[fdstore.Word]fdstore.Word
}

// Verify runs the plan against a model of descriptor tables: every op by the
// kernel's rules, every demanded number, and at the end each table against the
// description. An error means that the planner has a bug.
func (p *Plan) Verify() error { return p.simulate(nil) }

func (p *Plan) simulate(visit func(task, op int, t *modelTable)) error {
	m := &model{plan: p, visit: visit, ready: map[int]bool{}}
	if err := m.task(0, &modelTable{cells: map[int]cell{}}); err != nil {
		return err
	}
	if len(m.ready) != len(p.tasks) {
		return fmt.Errorf("restore: bug: the plan forks %d of %d tasks", len(m.ready), len(p.tasks))
	}
	return nil
}

func (m *model) task(i int, t *modelTable) error {
	if m.ready[i] {
		return fmt.Errorf("restore: bug: task %d is forked twice", i)
	}
	m.ready[i] = true
	task := m.plan.tree.Tasks()[i]
	prog := &m.plan.tasks[i]
	want := m.plan.sorted(task)
	for j := range prog.Ops {
		if err := m.op(t, &prog.Ops[j], prog.Notes[j], want); err != nil {
			return fmt.Errorf("restore: bug: task %q: op %d (%s): %w", task.Name, j, opName(&prog.Ops[j]), err)
		}
		if m.visit != nil {
			m.visit(i, j, t)
		}
		if prog.Ops[j].Kind == program.OpFork {
			if err := m.task(int(prog.Ops[j].Args[1]), &modelTable{cells: maps.Clone(t.cells), low: t.low}); err != nil {
				return err
			}
		}
	}
	if err := compare(t, want); err != nil {
		return fmt.Errorf("restore: bug: task %q: %w", task.Name, err)
	}
	return nil
}

// compare holds a finished table against the description.
func compare(t *modelTable, want []*tasktree.Descriptor) error {
	for _, d := range want {
		c, ok := t.cells[d.FD]
		if !ok || c.what != endOf(d) || c.cloexec != d.Cloexec {
			return fmt.Errorf("fd %d is %+v in the end, want file %q, cloexec %v", d.FD, c, d.File.Value, d.Cloexec)
		}
	}
	if len(t.cells) != len(want) {
		return fmt.Errorf("%d descriptors in the end (%v), want %d", len(t.cells), slices.Sorted(maps.Keys(t.cells)), len(want))
	}
	return nil
}

// op applies one op. want, ascending, has what each number holds in the end: such
// a number must not be written once it is right.
func (m *model) op(t *modelTable, op *program.Op, note program.Note, want []*tasktree.Descriptor) error {
	switch op.Kind {
	case program.OpPull:
		return m.pull(t, op)
	case program.OpPair:
		for end := range 2 {
			n := int(int32(op.Want >> (32 * end)))
			if err := m.lands(t, n, cell{what: fileEnd{note.File, int32(end)}, cloexec: true}); err != nil {
				return err
			}
		}
	case program.OpRefuse:
		return needs(t, int(op.Args[0]))
	case program.OpCall:
		return m.call(t, op, note, want)
	default: // the others leave the table as it is
	}
	return nil
}

func (m *model) call(t *modelTable, op *program.Op, note program.Note, want []*tasktree.Descriptor) error {
	a := op.Args
	switch op.Nr {
	case unix.SYS_DUP3:
		to := int(a[1])
		source := cell{what: theStore}
		if op.Mode(0) == program.ModeValue {
			if err := needs(t, int(a[0])); err != nil {
				return err
			}
			source = t.cells[int(a[0])]
		}
		if was, taken := t.cells[to]; taken && !was.look && wants(want, to, was.what) {
			return fmt.Errorf("number %d already holds what it shall hold", to)
		}
		source.cloexec = a[2]&unix.O_CLOEXEC != 0
		return m.place(t, to, source)
	case unix.SYS_CLOSE:
		if err := needs(t, int(a[0])); err != nil {
			return err
		}
		t.drop(int(a[0]))
	case unix.SYS_CLOSE_RANGE:
		for _, n := range slices.Collect(maps.Keys(t.cells)) {
			if uint64(n) >= a[0] && uint64(n) <= a[1] {
				t.drop(n)
			}
		}
	case unix.SYS_FCNTL:
		if err := needs(t, int(a[0])); err != nil {
			return err
		}
		if a[1] == unix.F_SETFD {
			c := t.cells[int(a[0])]
			c.cloexec = a[2]&unix.FD_CLOEXEC != 0
			t.put(int(a[0]), c)
		}
	default:
		if note.Makes == 1 {
			look := op.Nr == unix.SYS_OPENAT && a[2]&unix.O_PATH != 0 && !m.plan.onlyLooks(note.File)
			return m.lands(t, int(op.Want), cell{what: fileEnd{note.File, int32(note.End)}, look: look, cloexec: true})
		}
	}
	return nil
}

// wants reports whether number n holds this open file in the end.
func wants(want []*tasktree.Descriptor, n int, what fileEnd) bool {
	i, ok := slices.BinarySearchFunc(want, n, func(d *tasktree.Descriptor, n int) int { return d.FD - n })
	return ok && endOf(want[i]) == what
}

// onlyLooks reports whether an open file is itself an O_PATH view: no op of the
// plan opens it otherwise.
func (p *Plan) onlyLooks(file int32) bool {
	use := p.tree.Files[file].Uses[0]
	prog := &p.tasks[use.Task.Index]
	for i, n := range prog.Notes {
		op := &prog.Ops[i]
		if n.File == file && n.Makes > 0 && (op.Nr != unix.SYS_OPENAT || op.Args[2]&unix.O_PATH == 0) {
			return false
		}
	}
	return true
}

// lands lets the kernel choose a number and demands that it is the planned one.
func (m *model) lands(t *modelTable, want int, c cell) error {
	if n := t.next(); n != want {
		return fmt.Errorf("lands at %d, planned was %d", n, want)
	}
	return m.place(t, want, c)
}

func (m *model) place(t *modelTable, n int, c cell) error {
	if uint64(n) >= m.plan.host.HardFiles {
		return fmt.Errorf("number %d is not below the limit of %d", n, m.plan.host.HardFiles)
	}
	t.put(n, c)
	return nil
}

func needs(t *modelTable, n int) error {
	if _, ok := t.cells[n]; !ok {
		return fmt.Errorf("number %d is not open", n)
	}
	return nil
}

// pull takes a message out of a socket of the store: the root, or one that an
// earlier pull has delivered.
func (m *model) pull(t *modelTable, op *program.Op) error {
	from, ok := t.cells[int(op.Args[0])]
	if !ok || from.what != theStore && from.what != theShard {
		return fmt.Errorf("pulls from %d, which is not the store", op.Args[0])
	}
	numbers := program.Int32sAt(m.plan.arena.Base, m.plan.arena.Data(), op.Args[3], int(op.Args[2]))
	cloexec := op.Args[4]&unix.MSG_CMSG_CLOEXEC != 0
	word := fdstore.Word(op.Args[1])
	if way, ok := m.ways()[word]; ok {
		if way != from.socket || len(numbers) != 1 {
			return fmt.Errorf("pulls %d files as the socket %#x out of the socket %#x", len(numbers), word, from.socket)
		}
		return m.lands(t, int(numbers[0]), cell{what: theShard, socket: word, cloexec: cloexec})
	}
	id := m.plan.messageOf(op)
	if id < 0 {
		return fmt.Errorf("message %#x was never added", word)
	}
	message := m.plan.messages[id]
	place, socket := m.plan.layout.Place(fdstore.ID(id), len(message)), fdstore.Word(0)
	if place.Depth > 0 {
		socket = place.Way[place.Depth-1]
	}
	if place.Word != word || socket != from.socket {
		return fmt.Errorf("message %d is %#x in the socket %#x, pulled is %#x from %#x", id, place.Word, socket, word, from.socket)
	}
	if len(numbers) != len(message) {
		return fmt.Errorf("message %d has %d files, planned were %d", id, len(message), len(numbers))
	}
	for i, n := range numbers {
		if err := m.lands(t, int(n), cell{what: message[i], cloexec: cloexec}); err != nil {
			return err
		}
	}
	return nil
}

// ways gives for each socket of the store the one that carries it, 0 for the
// root.
func (m *model) ways() map[fdstore.Word]fdstore.Word {
	if m.sockets == nil {
		m.sockets = map[fdstore.Word]fdstore.Word{}
		for id, message := range m.plan.messages {
			p := m.plan.layout.Place(fdstore.ID(id), len(message))
			carrier := fdstore.Word(0)
			for _, w := range p.Way[:p.Depth] {
				m.sockets[w] = carrier
				carrier = w
			}
		}
	}
	return m.sockets
}
