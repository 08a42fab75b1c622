package model

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
)

// bench is a process that makes steps of recipes. It begins with a copy of the runner's
// table, where the runner's open files are at numbers that no plan knows, and none at
// those that the bench takes.
type bench struct {
	*runner
	*plan.Bench

	own     []bool           // by slot: made here, and open
	taken   map[int]bool     // numbers of its choice that hold something
	cells   map[uint64]bool  // of children that are not reaped
	made    map[uint64]bool  // of all children
	records map[uint64]bool  // of children
	sent    [][]int32        // slots of each message
	puts    map[uint64]int32 // slots, by the address that their number is written to
	over    bool
}

// runBench carries out the program of a bench, and keeps what it sends.
func (m *runner) runBench(n uint64) error {
	if n != uint64(m.benches) || n >= uint64(len(m.plan.Benches)) {
		return fmt.Errorf("bench %d is started, and %d are there; %d were started", n, len(m.plan.Benches), m.benches)
	}
	m.benches++
	b := &bench{
		runner: m, Bench: &m.plan.Benches[n], own: make([]bool, len(m.made)),
		taken: map[int]bool{}, cells: map[uint64]bool{}, made: map[uint64]bool{}, records: map[uint64]bool{}, puts: map[uint64]int32{},
	}
	for i := range b.Ops {
		if err := b.step(i); err != nil {
			return fmt.Errorf("bench %d: op %d (%s): %w", n, i, words.OpName(&b.Ops[i]), err)
		}
	}
	if !b.over {
		return fmt.Errorf("bench %d has no end", n)
	}
	m.sent = append(m.sent, b.sent...)
	return nil
}

func (b *bench) step(i int) error {
	op, note := &b.Ops[i], b.Notes[i]
	if b.over {
		return fmt.Errorf("the bench has ended")
	}
	for arg := range op.Args {
		if slot := op.Args[arg]; op.Mode(arg) == program.ModeSlot && !b.has(slot) {
			return fmt.Errorf("argument %d is the open file #%d, which is not there", arg, slot)
		}
	}
	if (op.Out != program.NoSlot) != (op.Kind == program.OpCall && note.Effect == program.EffectGivesFD) {
		return fmt.Errorf("its result goes to the slot %d", op.Out)
	}
	if undo := op.Flags&program.FlagUndo != 0; undo && (i+1 == len(b.Ops) || b.Ops[i+1].Kind != program.OpStore || b.Ops[i+1].Args[0] != 1) {
		return fmt.Errorf("nobody learns that it has made a name")
	}
	switch op.Kind {
	case program.OpCall:
		return b.call(op, note)
	case program.OpEnd: // of a child
		return nil
	case program.OpStore:
		if op.Mode(0) == program.ModeSlot {
			b.puts[op.Args[1]] = int32(op.Args[0])
		}
		return nil
	case program.OpChild:
		return b.child(i)
	case program.OpReap:
		if !b.cells[op.Args[0]] {
			return fmt.Errorf("no child has the cell %#x", op.Args[0])
		}
		delete(b.cells, op.Args[0])
		return nil
	default:
		return fmt.Errorf("a bench cannot do it")
	}
}

// has reports whether a slot has an open file of the runner's, or of the bench's own.
func (b *bench) has(slot uint64) bool {
	return slot < uint64(len(b.own)) && (b.own[slot] || b.runner.made[slot])
}

// child demands that a child does nothing but end.
func (b *bench) child(i int) error {
	op := &b.Ops[i]
	if record := op.Args[1]; record < uint64(b.plan.Processes()) || record == uint64(b.Record) || b.records[record] {
		return fmt.Errorf("the child's record, %d, is another process's", record)
	}
	b.records[op.Args[1]] = true
	if i+1 == len(b.Ops) || b.Ops[i+1].Kind != program.OpEnd {
		return fmt.Errorf("the child does not end")
	}
	if cell := op.Args[3]; b.made[cell] {
		return fmt.Errorf("the cell %#x is another child's", cell)
	}
	b.cells[op.Args[3]], b.made[op.Args[3]] = true, true
	return nil
}

// call applies a system call by what it is declared to change.
func (b *bench) call(op *program.Op, note program.Note) error {
	if fixed, known := program.EffectOf(op); known && fixed != note.Effect {
		return fmt.Errorf("the call is declared to have effect %d and has %d", note.Effect, fixed)
	}
	for _, u := range b.plan.Extras[note.Extra].Uses {
		if n := int(op.Args[u.Arg]); u.What == plan.Put && !b.taken[n] {
			return fmt.Errorf("number %d is free", n)
		}
	}
	for arg := range op.Args {
		if cell := op.Args[arg]; op.Mode(arg) == program.ModeLoad && b.made[cell] && !b.cells[cell] {
			return fmt.Errorf("argument %d is the pid of a child that was waited for: it may be another one's", arg)
		}
	}
	switch note.Effect {
	case program.EffectUndeclared:
		return fmt.Errorf("nobody has declared what the call changes")
	case program.EffectNothing:
		if op.Nr == unix.SYS_SENDMSG {
			return b.send(op)
		}
	case program.EffectGivesFD:
		if op.Out < 0 || int(op.Out) >= len(b.own) || b.has(uint64(op.Out)) {
			return fmt.Errorf("its result goes to the slot %d", op.Out)
		}
		b.own[op.Out] = true
	case program.EffectReplaces:
		return b.put(op)
	case program.EffectCloses:
		return b.closes(op)
	case program.EffectEnds:
		if len(b.cells) > 0 {
			return fmt.Errorf("%d children were not waited for", len(b.cells))
		}
		b.over = true
	case program.EffectSession, program.EffectGroup, program.EffectUser, program.EffectLimit, program.EffectNamespace, program.EffectFolder:
		// They do not change what numbers it has.
	default:
		return fmt.Errorf("a bench cannot make a call with the effect %d", note.Effect)
	}
	return nil
}

// put has an open file at a number of the bench's choice, where nothing of the bench's
// own may lie: the kernel chooses the numbers of what it makes.
func (b *bench) put(op *program.Op) error {
	n := int(op.Args[1])
	switch {
	case op.Mode(0) != program.ModeSlot:
		return fmt.Errorf("number %d is taken from a number and not from a slot", n)
	case b.taken[n]:
		return fmt.Errorf("number %d is taken already", n)
	case uint64(n) >= b.plan.Host.HardFiles:
		return fmt.Errorf("number %d is not below the limit of %d", n, b.plan.Host.HardFiles)
	}
	if !slices.Contains(b.Numbers, n) {
		return fmt.Errorf("number %d is not among those that the runner keeps free", n)
	}
	for slot, open := range b.own {
		if open {
			return fmt.Errorf("number %d may be that of the open file #%d, which the bench has made", n, slot)
		}
	}
	b.taken[n] = true
	return nil
}

// closes closes a number of the bench's choice, or what it has made.
func (b *bench) closes(op *program.Op) error {
	if op.Mode(0) == program.ModeSlot {
		if !b.own[op.Args[0]] {
			return fmt.Errorf("the open file #%d is the runner's", op.Args[0])
		}
		b.own[op.Args[0]] = false
		return nil
	}
	n := int(op.Args[0])
	if !b.taken[n] {
		return fmt.Errorf("number %d is free", n)
	}
	delete(b.taken, n)
	return nil
}

// send keeps what a message to the runner carries.
func (b *bench) send(op *program.Op) error {
	a := b.plan.Arena
	header := program.WordsAt(a.Base, a.Data(), op.Args[1], 7)
	const control, length = 4, 5
	if header == nil || header[length] == 0 {
		return nil // a message of a recipe's, without open files
	}
	rights := program.At(a.Base, a.Data(), header[control], header[length])
	if len(rights) < unix.SizeofCmsghdr {
		return fmt.Errorf("the message has no room for files")
	}
	n := (binary.NativeEndian.Uint64(rights) - unix.SizeofCmsghdr) / 4
	if n > uint64(len(rights))/4 {
		return fmt.Errorf("%d files have no room in the message", n)
	}
	var slots []int32
	for i := range n {
		slot, stored := b.puts[header[control]+unix.SizeofCmsghdr+4*i]
		if !stored {
			return fmt.Errorf("file %d of the message was not put there", i)
		}
		slots = append(slots, slot)
	}
	if b.own[slots[0]] { // else one of a recipe's
		b.sent = append(b.sent, slots)
	}
	return nil
}

// receive gives the runner what the bench has sent.
func (m *runner) receive(op *program.Op) error {
	slots := program.Int32sAt(m.plan.Arena.Base, m.plan.Arena.Data(), op.Args[1], int(op.Args[2]))
	if len(m.sent) == 0 {
		return fmt.Errorf("no bench has sent anything")
	}
	sent := m.sent[0]
	m.sent = m.sent[1:]
	if len(sent) != len(slots) {
		return fmt.Errorf("the bench has sent %d files, and %d are taken", len(sent), len(slots))
	}
	for i, slot := range slots {
		if sent[i] != slot {
			return fmt.Errorf("file %d of the message is #%d, and not #%d", i, sent[i], slot)
		}
		if m.made[slot] {
			return fmt.Errorf("the open file #%d is there already", slot)
		}
		m.made[slot] = true
	}
	return nil
}
