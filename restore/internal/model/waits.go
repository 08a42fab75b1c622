package model

import (
	"fmt"
	"maps"

	"regrow/restore/internal/program"
)

// waits is the state of tasks that wait for one another: for the counter of a meeting (OpMeet),
// or for a counter to become zero (OpAwait).
type waits struct {
	waiting map[uint64][]int        // waiting tasks, by the address of the counter
	counts  map[uint64]uint32       // by address
	known   []map[int]bool          // by task: the tasks that exist for certain, in whatever order the kernel runs tasks
	passed  map[uint64]map[int]bool // by address: what the tasks knew that counted down
}

// mayGoOn reports whether the kernel would let a task go on at an op. A waiting task runs again
// when the counter changes.
func (m *Model) mayGoOn(i int, op *program.Op) bool {
	addr := op.Args[0]
	switch op.Kind {
	case program.OpMeet:
		n := m.count(addr)
		if uint64(n) > op.Args[1] {
			m.wait(i, addr)
			return false
		}
		m.countDown(i, addr)
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

// count returns a counter, with its value from the arena if no task has changed it yet.
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

// pass decrements a counter that tasks wait for.
func (s step) pass(counter uint64) error {
	if counter < s.plan.Arena.Record(s.plan.Processes()) || program.At(s.plan.Arena.Base, s.plan.Arena.Data(), counter, 8) == nil {
		return fmt.Errorf("%#x is no count of tasks", counter)
	}
	s.countDown(s.task, counter)
	return nil
}

// store writes a number to the arena. In records a task may only note that it ends or
// holds, in its own.
func (s step) store() error {
	a := s.plan.Arena
	switch at := s.op.Args[1]; {
	case at >= a.Record(s.plan.Processes()):
		return nil
	case at == a.Record(s.task)+program.RecordBegun && s.op.Args[0] == program.BegunToEnd:
		if s.plan.Tree.Tasks()[s.task].Parent == nil {
			return fmt.Errorf("the root ends, but a root cannot end by plan")
		}
		s.life[s.task].leaving = true
		return nil
	case at == a.Record(s.task)+program.RecordHolds:
		return nil
	}
	return fmt.Errorf("a task may not write to %#x", s.op.Args[1])
}

func (m *Model) wait(i int, addr uint64) { m.waiting[addr] = append(m.waiting[addr], i) }

// countDown decrements a counter and wakes the tasks that wait for it.
func (m *Model) countDown(i int, addr uint64) {
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

// checkWaits checks that no task waits any more, and that no counter is negative.
func (m *Model) checkWaits() error {
	for addr, tasks := range m.waiting {
		if len(tasks) > 0 {
			return fmt.Errorf("restore: bug: task %q waits forever: its counter is %d", m.name(tasks[0]), int32(m.counts[addr]))
		}
	}
	for addr, n := range m.counts {
		if int32(n) < 0 {
			return fmt.Errorf("restore: bug: the count at %#x falls to %d", addr, int32(n))
		}
	}
	return nil
}

// followPIDs makes the model record which other tasks a task knows to exist. It takes memory for
// each pair of tasks, so it is done only if a task uses pids.
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

// bornKnowing begins a task with what it knows to exist: itself and its ancestors. It does not
// know its siblings, since helpers may fork them.
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

// usesPIDs checks that a call with the pid of a task is made when that task exists for certain:
// before that the pid is 0, which for kill(2) means the caller's own group.
func (s step) usesPIDs() error {
	for i := range s.op.Args {
		if s.op.Mode(i) != program.ModeLoad32 {
			continue
		}
		a := s.plan.Arena
		at := s.op.Args[i] - a.Record(0)
		task := int(at / program.RecordSize)
		if s.op.Args[i] < a.Record(0) || task >= len(s.Tables) || at%program.RecordSize != program.RecordPID {
			return fmt.Errorf("argument %d is not the pid of a task", i)
		}
		if !s.known[s.task][task] {
			return fmt.Errorf("task %q may not have been forked yet", s.name(task))
		}
	}
	return nil
}
