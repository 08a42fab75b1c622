package model

import (
	"fmt"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
)

// The numbers of the runner's own table are not planned. Its programs use slots in their place.

// runner records which slots have an open file.
type runner struct {
	plan    *plan.Plan
	made    []bool
	benches int       // that were started
	sent    [][]int32 // by benches, and not yet received: the slots of each message
}

// checkRunner checks that the programs of the runner only use open files that they have, and
// finally have all open files that the tasks get.
func checkRunner(p *plan.Plan) error {
	m := &runner{plan: p, made: make([]bool, p.Slots)}
	for _, prog := range []*program.Program{&m.plan.Prepare, &m.plan.Commit} {
		for i := range prog.Ops {
			if err := m.step(&prog.Ops[i], prog.Notes[i]); err != nil {
				return fmt.Errorf("restore: bug: the runner's op %d (%s): %w", i, words.OpName(&prog.Ops[i]), err)
			}
		}
	}
	if m.benches != len(p.Benches) || len(m.sent) > 0 {
		return fmt.Errorf("restore: bug: the runner starts %d of %d benches, and leaves %d messages of theirs", m.benches, len(p.Benches), len(m.sent))
	}
	for fe, slot := range m.plan.SlotsOf {
		if !m.made[slot] {
			return fmt.Errorf("restore: bug: the runner finally does not have file %q", m.plan.EndName(fe))
		}
	}
	return nil
}

func (m *runner) step(op *program.Op, note program.Note) error {
	for i := range op.Args {
		if op.Mode(i) != program.ModeSlot {
			continue
		}
		if slot := op.Args[i]; slot >= uint64(len(m.made)) || !m.made[slot] {
			return fmt.Errorf("argument %d is the open file #%d, which is not there", i, slot)
		}
	}
	outs := 0
	switch op.Kind {
	case program.OpCall, program.OpPoll:
		if fixed, known := program.EffectOf(op); known && fixed != note.Effect {
			return fmt.Errorf("the call is declared to have the effect %d, but it has %d", note.Effect, fixed)
		}
		switch note.Effect {
		case program.EffectNothing:
		case program.EffectGivesFD:
			outs = 1
		case program.EffectCloses:
			if op.Mode(0) == program.ModeSlot {
				m.made[op.Args[0]] = false
			}
		case program.EffectUndeclared:
			return fmt.Errorf("the effect of the call is not declared")
		default:
			return fmt.Errorf("the runner must not make a call with the effect %d", note.Effect)
		}
	case program.OpPair:
		outs = 2
	case program.OpReopen, program.OpReopenAt, program.OpCreate, program.OpCaller:
		outs = 1
	case program.OpAdd:
		for _, slot := range program.Int32sAt(m.plan.Arena.Base, m.plan.Arena.Data(), op.Args[0], int(op.Args[1])) {
			if slot < 0 || int(slot) >= len(m.made) || !m.made[slot] {
				return fmt.Errorf("the open file #%d is not there", slot)
			}
		}
	case program.OpLend:
		if slot := op.Args[0]; slot >= uint64(len(m.made)) || !m.made[slot] {
			return fmt.Errorf("the open file #%d is not there", slot)
		}
	case program.OpBench:
		return m.runBench(op.Args[0])
	case program.OpReceive:
		return m.receive(op)
	default: // they make no open file
	}
	if (outs > 0) != (op.Out != program.NoSlot) {
		return fmt.Errorf("%d new descriptors go to the slot %d", outs, op.Out)
	}
	for i := range outs {
		m.made[int(op.Out)+i] = true
	}
	return nil
}
