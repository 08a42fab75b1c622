package model

import (
	"fmt"
	"maps"

	"regrow/restore/internal/program"
)

// waits is what the model knows of tasks that wait for one another: for the count of a
// meeting (OpMeet), or for a counter to become zero (OpAwait).
type waits struct {
	waiting map[uint64][]int  // tasks that wait, by the address of the count
	counts  map[uint64]uint32 // by address
	known   []map[int]bool    // by task: the tasks that are forked for certain, whatever the kernel's order
	passed  map[uint64]map[int]bool
}

// mayGoOn reports whether the kernel would let a task go on at an op. A task that must
// wait runs again when a count changes.
func (m *Model) mayGoOn(i int, op *program.Op) bool {
	addr := op.Args[0]
	switch op.Kind {
	case program.OpMeet:
		n := m.count(addr)
		if uint64(n) > op.Args[1] {
			m.wait(i, addr)
			return false
		}
		m.takeOff(i, addr)
	case program.OpAwait:
		if m.count(addr) > 0 {
			m.wait(i, addr)
			return false
		}
		m.learn(i, m.passed[addr])
	default:
	}
	return true
}

// count gives a count, from the arena if nobody has changed it yet.
func (m *Model) count(addr uint64) uint32 {
	n, known := m.counts[addr]
	if !known {
		if words := program.WordsAt(m.plan.Arena.Base, m.plan.Arena.Data(), addr, 1); words != nil {
			n = uint32(words[0])
		}
		m.counts[addr] = n
	}
	return n
}

// pass takes one off a counter that tasks wait for.
func (s step) pass(counter uint64) error {
	if counter < s.plan.Arena.Record(s.plan.Processes()) || program.At(s.plan.Arena.Base, s.plan.Arena.Data(), counter, 8) == nil {
		return fmt.Errorf("%#x is no count of tasks", counter)
	}
	s.takeOff(s.task, counter)
	return nil
}

// store writes a number to the arena. Of what a record has, a task only notes that it
// ends or holds.
func (s step) store() error {
	a := s.plan.Arena
	switch at := s.op.Args[1]; {
	case at >= a.Record(s.plan.Processes()):
		return nil
	case at == a.Record(s.task)+program.RecordBegun && s.op.Args[0] == program.BegunToEnd:
		if s.plan.Tree.Tasks()[s.task].Parent == nil {
			return fmt.Errorf("the root ends, and the tree with it")
		}
		s.life[s.task].leaving = true
		return nil
	case at == a.Record(s.task)+program.RecordHolds:
		return nil
	}
	return fmt.Errorf("%#x is nothing that a task may write", s.op.Args[1])
}

func (m *Model) wait(i int, addr uint64) { m.waiting[addr] = append(m.waiting[addr], i) }

// takeOff takes one off a count and wakes those who wait for it.
func (m *Model) takeOff(i int, addr uint64) {
	m.counts[addr] = m.count(addr) - 1
	m.runnable = append(m.runnable, m.waiting[addr]...)
	m.waiting[addr] = nil
	if m.known == nil {
		return
	}
	if m.passed[addr] == nil {
		m.passed[addr] = map[int]bool{}
	}
	maps.Copy(m.passed[addr], m.known[i])
}

// nobodyWaits holds that every task has come to its end.
func (m *Model) nobodyWaits() error {
	for addr, tasks := range m.waiting {
		if len(tasks) > 0 {
			return fmt.Errorf("restore: bug: task %q waits for ever: %d are still to come", m.name(tasks[0]), int32(m.counts[addr]))
		}
	}
	for addr, n := range m.counts {
		if int32(n) < 0 {
			return fmt.Errorf("restore: bug: the count at %#x falls to %d", addr, int32(n))
		}
	}
	return nil
}

// followPIDs has the model follow which tasks know that which others exist. It costs
// memory for each pair of tasks, so it is only for plans in which a task uses pids.
func (m *Model) followPIDs() {
	for i := range m.plan.Tasks {
		for j := range m.plan.Tasks[i].Ops {
			if op := &m.plan.Tasks[i].Ops[j]; usesPID(op) {
				m.known = make([]map[int]bool, len(m.plan.Tasks))
				m.passed = map[uint64]map[int]bool{}
				return
			}
		}
	}
}

func usesPID(op *program.Op) bool {
	for i := range op.Args {
		if op.Mode(i) == program.ModeLoad32 {
			return true
		}
	}
	return false
}

// bornKnowing has a task begin with what it knows: itself and its ancestors. Of its
// siblings it knows none, since helpers may fork them.
func (m *Model) bornKnowing(child int) {
	if m.known == nil {
		return
	}
	task := m.plan.Tree.Tasks()[child]
	if task.Parent != nil {
		m.known[task.Parent.Index][child] = true
	}
	m.known[child] = map[int]bool{}
	for ; task != nil; task = task.Parent {
		m.known[child][task.Index] = true
	}
}

func (m *Model) learn(i int, tasks map[int]bool) {
	if m.known != nil {
		maps.Copy(m.known[i], tasks)
	}
}

// usesPIDs holds that a call which takes the pid of a task is made when that task exists
// for certain: before that the pid is 0, which means the caller's own group to kill(2).
func (s step) usesPIDs() error {
	for i := range s.op.Args {
		if s.op.Mode(i) != program.ModeLoad32 {
			continue
		}
		a := s.plan.Arena
		at := s.op.Args[i] - a.Record(0)
		task := int(at / program.RecordSize)
		if s.op.Args[i] < a.Record(0) || task >= len(s.Tables) || at%program.RecordSize != program.RecordPID {
			return fmt.Errorf("argument %d is no pid of a task", i)
		}
		if !s.known[s.task][task] {
			return fmt.Errorf("task %q need not have been forked yet", s.name(task))
		}
	}
	return nil
}
