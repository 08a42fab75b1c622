package model

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/fdstore/wire"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
)

// op applies one op to a table. An opFails error says that the kernel refuses
// it, any other one that the plan is wrong.
func (m *Model) op(t *Table, op *program.Op, note program.Note) error {
	if err := m.besideHelpers(op); err != nil {
		return err
	}
	switch op.Kind {
	case program.OpPull:
		return m.pull(t, op, note)
	case program.OpTake:
		return m.take(t, op, note)
	case program.OpPair:
		if op.Nr == unix.SYS_SOCKETPAIR && note.Verb == program.VerbChannel {
			return errors.Join(
				m.lands(t, int(int32(op.Want)), Cell{What: plan.TheChannel, Cloexec: true}),
				m.lands(t, int(int32(op.Want>>32)), Cell{What: plan.TheEnd, Cloexec: true}))
		}
		for end := range 2 {
			n := int(int32(op.Want >> (32 * end)))
			if err := m.lands(t, n, Cell{What: plan.FileEnd{File: note.File, End: int32(end)}, Cloexec: true}); err != nil {
				return err
			}
		}
	case program.OpRefuse:
		return needs(t, int(op.Args[0]))
	case program.OpReopenAt:
		if err := needs(t, int(op.Args[2])); err != nil {
			return err
		}
		return m.makes(t, op, note)
	case program.OpHelp:
		return m.help(op)
	case program.OpCall:
		return m.call(t, op, note)
	default: // the others leave the table as it is
	}
	return nil
}

// help demands that a helper does nothing but fork plain children. Its table is a
// copy of the task's, which that does not change as long as the helper works, so the
// children get what they would have got from the task.
func (m *Model) help(op *program.Op) error {
	part := m.plan.Tasks[m.task].Ops[m.at+1:]
	n := int(op.Args[2])
	if n < 1 || n > len(part) || part[n-1].Kind != program.OpEnd {
		return fmt.Errorf("the part of a helper, %d ops, has no end", n)
	}
	for i := range part[:n-1] {
		f := &part[i]
		if f.Kind != program.OpFork || f.Flags&program.FlagWant != 0 || m.plan.Tree.Tasks()[f.Args[1]].Carried != nil {
			return fmt.Errorf("a helper shall do op %s", words.OpName(f))
		}
	}
	if m.working[m.task] == nil {
		m.working[m.task] = map[uint64]bool{}
	}
	m.working[m.task][op.Args[3]] = true
	return nil
}

// besideHelpers demands that a task only forks and waits as long as a helper of its
// works.
func (m *Model) besideHelpers(op *program.Op) error {
	switch op.Kind {
	case program.OpFork, program.OpHelp, program.OpEnd:
		return nil
	case program.OpReap:
		if !m.working[m.task][op.Args[0]] {
			return fmt.Errorf("no helper has the cell %#x", op.Args[0])
		}
		delete(m.working[m.task], op.Args[0])
		return nil
	default:
	}
	if n := len(m.working[m.task]); n > 0 {
		return fmt.Errorf("%d helpers still work", n)
	}
	return nil
}

func (m *Model) call(t *Table, op *program.Op, note program.Note) error {
	a := op.Args
	switch op.Nr {
	case unix.SYS_DUP3:
		return m.dup(t, op, note)
	case unix.SYS_SENDMSG:
		return m.send(t, op, note)
	case unix.SYS_SETSOCKOPT:
		return m.needsHelper(t, int(a[0]), plan.TheChannel)
	case unix.SYS_UNSHARE:
		m.Tables[m.task] = t.copyFor(m.wantOf(m.plan.Tree.Tasks()[m.task].Table()))
	case unix.SYS_CLOSE:
		if note.Verb == program.VerbHelper {
			m.expect(t, int(a[0]), plan.TheStore, func() string { return fmt.Sprintf("the helper of task %q", m.name(m.task)) })
			m.own[m.task]--
		}
		if err := needs(t, int(a[0])); err != nil {
			return err
		}
		t.drop(int(a[0]))
	case unix.SYS_CLOSE_RANGE:
		for _, n := range t.Cells.Numbers() {
			if uint64(n) >= a[0] && uint64(n) <= a[1] {
				t.drop(n)
			}
		}
	case unix.SYS_FCNTL:
		if err := needs(t, int(a[0])); err != nil {
			return err
		}
		switch a[1] {
		case unix.F_DUPFD_CLOEXEC:
			c, _ := t.Cells.Get(int(a[0]))
			c.Cloexec = true
			m.own[m.task]++
			return m.lands(t, int(op.Want), c)
		case unix.F_SETFD:
			c, _ := t.Cells.Get(int(a[0]))
			c.Cloexec = a[2]&unix.FD_CLOEXEC != 0
			t.put(int(a[0]), c)
		}
	default:
		if note.Makes == 1 {
			return m.makes(t, op, note)
		}
	}
	return nil
}

// makes applies an op that gives a new descriptor.
func (m *Model) makes(t *Table, op *program.Op, note program.Note) error {
	_, look := m.plan.Looks(op)
	look = look && !onlyLooks(m.plan, note.File)
	what := plan.FileEnd{File: note.File, End: int32(note.End)}
	if note.File == program.NoFile {
		what = plan.Helper
	}
	return m.lands(t, int(op.Want), Cell{What: what, Look: look, Cloexec: true})
}

// dup applies a dup3: from a number, or of what the root takes from the runner.
func (m *Model) dup(t *Table, op *program.Op, note program.Note) error {
	from, to := int(op.Args[0]), int(op.Args[1])
	source := Cell{What: plan.TheStore}
	if op.Mode(0) == program.ModeValue {
		if note.Verb == program.VerbInstall {
			what := plan.FileEnd{File: note.File, End: int32(note.End)}
			m.expect(t, from, what, func() string { return fmt.Sprintf("file %q, still to be installed as fd %d", m.plan.EndName(what), to) })
		}
		if err := needs(t, from); err != nil {
			return err
		}
		source, _ = t.Cells.Get(from)
	} else if fe, lent := m.lentAt[op.Args[0]]; lent {
		source.What = fe
	}
	if was, taken := t.Cells.Get(to); !m.plan.Options.Naive && taken && !was.Look && wants(t.want, to, was.What) {
		return fmt.Errorf("number %d already holds what it shall hold", to)
	}
	source.Cloexec = op.Args[2]&unix.O_CLOEXEC != 0
	return m.place(t, to, source)
}

// onlyLooks reports whether an open file is itself an O_PATH view: no op of the
// plan opens it otherwise.
func onlyLooks(p *plan.Plan, file int32) bool {
	use := p.Tree.Files[file].Uses[0]
	prog := &p.Tasks[use.Task.Index]
	for i, n := range prog.Notes {
		op := &prog.Ops[i]
		if n.File == file && n.Makes > 0 {
			if _, look := p.Looks(op); !look {
				return false
			}
		}
	}
	return true
}

// lands lets the kernel choose a number and demands that it is the planned one.
func (m *Model) lands(t *Table, want int, c Cell) error {
	if n := t.next(); n != want {
		return fmt.Errorf("lands at %d, planned was %d", n, want)
	}
	return m.place(t, want, c)
}

func (m *Model) place(t *Table, n int, c Cell) error {
	if uint64(n) >= m.plan.Host.HardFiles {
		if !m.plan.Options.Naive {
			return fmt.Errorf("number %d is not below the limit of %d", n, m.plan.Host.HardFiles)
		}
		return opFails{unix.EMFILE}
	}
	t.put(n, c)
	return nil
}

func needs(t *Table, n int) error {
	if !t.Cells.Has(n) {
		return opFails{unix.EBADF}
	}
	return nil
}

// pull takes a message out of a socket of the store: the root, or one that an
// earlier pull has delivered.
func (m *Model) pull(t *Table, op *program.Op, note program.Note) error {
	from, ok := t.Cells.Get(int(op.Args[0]))
	if m.plan.Options.Naive {
		m.expect(t, int(op.Args[0]), plan.TheStore, func() string {
			return fmt.Sprintf("the store, before file %q was pulled for fd %d", m.plan.EndName(plan.FileEnd{File: note.File, End: int32(note.End)}), note.FD)
		})
		if !ok {
			return opFails{unix.EBADF}
		}
		if from.What != plan.TheStore {
			return opFails{unix.ENOTSOCK}
		}
	}
	if !ok || from.What != plan.TheStore && from.What != plan.TheShard {
		return fmt.Errorf("pulls from %d, which is not the store", op.Args[0])
	}
	numbers := program.Int32sAt(m.plan.Arena.Base, m.plan.Arena.Data(), op.Args[3], int(op.Args[2]))
	cloexec := op.Args[4]&unix.MSG_CMSG_CLOEXEC != 0
	word := wire.Word(op.Args[1])
	if way, ok := m.ways()[word]; ok {
		if way != from.socket || len(numbers) != 1 {
			return fmt.Errorf("pulls %d files as the socket %#x out of the socket %#x", len(numbers), word, from.socket)
		}
		return m.lands(t, int(numbers[0]), Cell{What: plan.TheShard, socket: word, Cloexec: cloexec})
	}
	id := m.plan.MessageOf(op)
	if id < 0 {
		return fmt.Errorf("message %#x was never added", word)
	}
	message := m.plan.Messages[id]
	place, socket := m.plan.Layout.Place(fdstore.ID(id), len(message)), wire.Word(0)
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
		if err := m.lands(t, int(n), Cell{What: message[i], Cloexec: cloexec}); err != nil {
			return err
		}
	}
	return nil
}

// send applies a message to a service: through the door with the end of a new
// channel, or a request on a channel.
func (m *Model) send(t *Table, op *program.Op, note program.Note) error {
	to := int(op.Args[0])
	if note.Verb == program.VerbChannel {
		if err := m.needsHelper(t, m.plan.SentFD(op), plan.TheEnd); err != nil {
			return err
		}
		return m.needsHelper(t, to, plan.TheStore)
	}
	m.expect(t, to, plan.TheChannel, func() string {
		return fmt.Sprintf("the channel, before file %q was popped for fd %d", m.plan.EndName(plan.FileEnd{File: note.File, End: int32(note.End)}), note.FD)
	})
	return m.needsHelper(t, to, plan.TheChannel)
}

// take applies the answer of a service.
func (m *Model) take(t *Table, op *program.Op, note program.Note) error {
	if err := m.needsHelper(t, int(op.Args[0]), plan.TheChannel); err != nil {
		return err
	}
	numbers := program.Int32sAt(m.plan.Arena.Base, m.plan.Arena.Data(), op.Args[3], int(op.Args[2]))
	id := m.plan.MessageOf(op)
	if id < 0 || len(numbers) != 1 || len(m.plan.Messages[id]) != 1 || m.plan.Messages[id][0] != (plan.FileEnd{File: note.File, End: int32(note.End)}) {
		return fmt.Errorf("takes file %d of the service, which is not the one", id)
	}
	return m.lands(t, int(numbers[0]), Cell{What: m.plan.Messages[id][0], Cloexec: op.Args[4]&unix.MSG_CMSG_CLOEXEC != 0})
}

// needsHelper demands a helper at a number. In a naive plan the kernel answers
// where there is none.
func (m *Model) needsHelper(t *Table, n int, what plan.FileEnd) error {
	c, ok := t.Cells.Get(n)
	switch {
	case ok && c.What == what:
		return nil
	case !m.plan.Options.Naive:
		return fmt.Errorf("number %d is not %s", n, m.plan.EndName(what))
	case !ok:
		return opFails{unix.EBADF}
	}
	return opFails{unix.ENOTSOCK}
}

// ways gives for each socket of the store the one that carries it, 0 for the
// root.
func (m *Model) ways() map[wire.Word]wire.Word {
	if m.sockets == nil {
		m.sockets = map[wire.Word]wire.Word{}
		for id, message := range m.plan.Messages {
			p := m.plan.Layout.Place(fdstore.ID(id), len(message))
			carrier := wire.Word(0)
			for _, w := range p.Way[:p.Depth] {
				m.sockets[w] = carrier
				carrier = w
			}
		}
	}
	return m.sockets
}
