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

// step is one op of one task, about to be applied to the task's table.
type step struct {
	*Model

	t    *Table
	op   *program.Op
	note program.Note
}

// apply applies the op. An opFails error means that the kernel refuses the op, any other error
// that the plan is wrong.
func (s step) apply() error {
	if err := s.besideHelpers(); err != nil {
		return err
	}
	switch s.op.Kind {
	case program.OpPull:
		return s.pull()
	case program.OpTake:
		return s.take()
	case program.OpPair:
		if s.op.Nr == unix.SYS_SOCKETPAIR && s.note.Verb == program.VerbChannel {
			return errors.Join(
				s.lands(int(int32(s.op.Want)), Cell{What: plan.TheChannel, Cloexec: true}),
				s.lands(int(int32(s.op.Want>>32)), Cell{What: plan.TheEnd, Cloexec: true}))
		}
		for end := range 2 {
			n := int(int32(s.op.Want >> (32 * end)))
			if err := s.lands(n, Cell{What: plan.FileEnd{File: s.note.File, End: int32(end)}, Cloexec: true}); err != nil {
				return err
			}
		}
	case program.OpRefuse:
		return needs(s.t, int(s.op.Args[0]))
	case program.OpReopenAt:
		look := int(s.op.Args[2])
		if err := needs(s.t, look); err != nil {
			return err
		}
		if c, _ := s.t.Cells.Get(look); !s.plan.Options.Naive && (!c.Look || c.What.File != s.note.File) {
			return fmt.Errorf("number %d is %s, not file %q opened with O_PATH", look, s.plan.EndName(c.What), s.plan.EndName(plan.FileEnd{File: s.note.File}))
		}
		return s.makes()
	case program.OpHelp:
		return s.help()
	case program.OpGate:
		if s.op.Args[0] != s.plan.Arena.Base+program.HeadGate {
			return fmt.Errorf("%#x is not the gate", s.op.Args[0])
		}
		return s.life[s.task].pass()
	case program.OpHold:
		return s.life[s.task].hold()
	case program.OpStore:
		return s.store()
	case program.OpCall:
		return s.call()
	default: // the others do not change the table
	}
	return nil
}

// help checks that a fork helper only forks plain children. Its table is a copy of the
// task's, and the task does not change its own while the helper works, so the children
// get the same table as from the task itself.
func (s step) help() error {
	part := s.plan.Tasks[s.task].Ops[s.at+1:]
	n := int(s.op.Args[2])
	if n < 1 || n > len(part) || part[n-1].Kind != program.OpEnd {
		return fmt.Errorf("the part of a helper, %d ops, has no end", n)
	}
	for i := range part[:n-1] {
		f := &part[i]
		if f.Kind != program.OpFork || f.Flags&program.FlagWant != 0 || s.plan.Tree.Tasks()[f.Args[1]].Carried != nil {
			return fmt.Errorf("a helper shall do op %s", words.OpName(f))
		}
	}
	if s.working[s.task] == nil {
		s.working[s.task] = map[uint64]bool{}
	}
	record := s.op.Args[1]
	if k := record - uint64(len(s.plan.Tasks)); record < uint64(len(s.plan.Tasks)) || k >= uint64(len(s.plan.Helpers)) || s.plan.Helpers[k] != (plan.HelperProcess{Task: s.task, Op: s.at + 1}) {
		return fmt.Errorf("record %d is not this helper's", record)
	}
	s.working[s.task][s.plan.Arena.Record(int(record))+program.RecordPID] = true
	return nil
}

// besideHelpers checks that a task only forks and waits while one of its fork helpers works.
func (s step) besideHelpers() error {
	switch s.op.Kind {
	case program.OpFork, program.OpHelp, program.OpEnd:
		return nil
	case program.OpReap:
		if !s.working[s.task][s.op.Args[0]] {
			return fmt.Errorf("no working helper has its pid at %#x", s.op.Args[0])
		}
		delete(s.working[s.task], s.op.Args[0])
		return nil
	default:
	}
	if n := len(s.working[s.task]); n > 0 {
		return fmt.Errorf("%d helpers still work", n)
	}
	return nil
}

// makes applies an op that returns a new descriptor.
func (s step) makes() error {
	_, look := s.plan.Looks(s.op)
	look = look && (s.note.File == program.NoFile || !onlyLooks(s.plan, s.note.File))
	what := plan.FileEnd{File: s.note.File, End: int32(s.note.End)}
	cell := Cell{What: what, Look: look, Cloexec: s.closesOnExec()}
	if s.note.File == program.NoFile { // for a while: it must be closed again, see compare
		cell.What, cell.opened = plan.Helper, s.note.Extra
	}
	return s.lands(int(s.op.Want), cell)
}

// closesOnExec reports whether the descriptor that an op opens is close-on-exec.
func (s step) closesOnExec() bool {
	switch {
	case s.op.Kind != program.OpCall:
		return true
	case s.op.Nr == unix.SYS_OPENAT:
		return s.op.Args[2]&unix.O_CLOEXEC != 0
	case s.op.Nr == unix.SYS_OPENAT2:
		return s.plan.HowFlags(s.op.Args[2])&unix.O_CLOEXEC != 0
	}
	return true // recipes must make it so
}

// onlyLooks reports whether an open file is itself opened with O_PATH: no op of the plan opens
// it in another way.
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

// lands puts a descriptor at the number that the kernel assigns, and checks that it is the planned one.
func (s step) lands(want int, c Cell) error {
	if n := s.t.next(); n != want {
		return fmt.Errorf("lands at %d, not at the planned %d", n, want)
	}
	return s.place(want, c)
}

func (s step) place(n int, c Cell) error {
	if limit := min(s.plan.Host.HardFiles, s.life[s.task].limit); uint64(n) >= limit {
		if !s.plan.Options.Naive {
			return fmt.Errorf("number %d is not below the limit of %d", n, limit)
		}
		return opFails{unix.EMFILE}
	}
	s.t.put(n, c)
	return nil
}

func needs(t *Table, n int) error {
	if !t.Cells.Has(n) {
		return opFails{unix.EBADF}
	}
	return nil
}

// pull pulls a message from a socket of the store: the root of the store, or one that an
// earlier pull has delivered.
func (s step) pull() error {
	from, ok := s.t.Cells.Get(int(s.op.Args[0]))
	if s.plan.Options.Naive {
		s.expect(s.t, int(s.op.Args[0]), plan.TheStore, func() string {
			return fmt.Sprintf("the store, before file %q was pulled for fd %d", s.plan.EndName(plan.FileEnd{File: s.note.File, End: int32(s.note.End)}), s.note.FD)
		})
		if !ok {
			return opFails{unix.EBADF}
		}
		if from.What != plan.TheStore {
			return opFails{unix.ENOTSOCK}
		}
	}
	if !ok || from.What != plan.TheStore && from.What != plan.TheShard {
		return fmt.Errorf("pulls from %d, which is not the store", s.op.Args[0])
	}
	numbers := program.Int32sAt(s.plan.Arena.Base, s.plan.Arena.Data(), s.op.Args[3], int(s.op.Args[2]))
	cloexec := s.op.Args[4]&unix.MSG_CMSG_CLOEXEC != 0
	word := wire.Word(s.op.Args[1])
	if way, ok := s.ways()[word]; ok {
		if way != from.socket || len(numbers) != 1 {
			return fmt.Errorf("pulls %d files as the socket %#x out of the socket %#x", len(numbers), word, from.socket)
		}
		return s.lands(int(numbers[0]), Cell{What: plan.TheShard, socket: word, Cloexec: cloexec})
	}
	id := s.plan.MessageOf(s.op)
	if id < 0 {
		return fmt.Errorf("message %#x was never added", word)
	}
	message := s.plan.Messages[id]
	place, socket := s.plan.Layout.Place(fdstore.ID(id), len(message)), wire.Word(0)
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
		if err := s.lands(int(n), Cell{What: message[i], Cloexec: cloexec}); err != nil {
			return err
		}
	}
	return nil
}

// send applies a message to the service: one through the door with the end of a new channel,
// or a request on a channel.
func (s step) send() error {
	to := int(s.op.Args[0])
	if s.note.Verb == program.VerbChannel {
		if err := s.needsHelper(s.plan.SentFD(s.op), plan.TheEnd); err != nil {
			return err
		}
		return s.needsHelper(to, plan.TheStore)
	}
	s.expect(s.t, to, plan.TheChannel, func() string {
		return fmt.Sprintf("the channel, before file %q was popped for fd %d", s.plan.EndName(plan.FileEnd{File: s.note.File, End: int32(s.note.End)}), s.note.FD)
	})
	return s.needsHelper(to, plan.TheChannel)
}

// take applies the answer of the service.
func (s step) take() error {
	if err := s.needsHelper(int(s.op.Args[0]), plan.TheChannel); err != nil {
		return err
	}
	numbers := program.Int32sAt(s.plan.Arena.Base, s.plan.Arena.Data(), s.op.Args[3], int(s.op.Args[2]))
	id := s.plan.MessageOf(s.op)
	if id < 0 || len(numbers) != 1 || len(s.plan.Messages[id]) != 1 || s.plan.Messages[id][0] != (plan.FileEnd{File: s.note.File, End: int32(s.note.End)}) {
		return fmt.Errorf("takes message %d from the service, which is not the planned file", id)
	}
	return s.lands(int(numbers[0]), Cell{What: s.plan.Messages[id][0], Cloexec: s.op.Args[4]&unix.MSG_CMSG_CLOEXEC != 0})
}

// needsHelper checks that a number refers to a helper. In a naive plan the kernel refuses the
// op if it does not.
func (s step) needsHelper(n int, what plan.FileEnd) error {
	c, ok := s.t.Cells.Get(n)
	switch {
	case ok && c.What == what:
		return nil
	case !s.plan.Options.Naive:
		return fmt.Errorf("number %d is not %s", n, s.plan.EndName(what))
	case !ok:
		return opFails{unix.EBADF}
	}
	return opFails{unix.ENOTSOCK}
}

// ways returns, for each socket of a nested store, the socket that carries it, 0 for the root
// of the store.
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
