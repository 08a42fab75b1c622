package planner

import (
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// taskMaker writes the recipe of an open file that one task makes for itself.
// It knows the task's table, so every number is known beforehand.
type taskMaker struct {
	*taskWriter
	recipe.NoRunner
	file    *tasktree.OpenFile
	numbers []int        // by Ref
	ends    []int        // by Ref
	own     []recipe.Ref // by end, once made
}

func (m *taskMaker) Call(c recipe.Call) {
	if m.pl.plan.Host.Holds(c.When) {
		m.recipe(program.OpCall, c)
	}
}

func (m *taskMaker) FD(c recipe.Call) recipe.Ref {
	c.Effect = recipe.GivesFD
	op := m.recipe(program.OpCall, c)
	return m.lands(op)
}

// lands makes op demand the number where its descriptor must land, and takes
// that number.
func (m *taskMaker) lands(op *program.Op) recipe.Ref {
	n := m.table.Lowest()
	m.inTable(n)
	m.want(op, int64(n))
	m.note().Makes = 1
	return m.took(n, 0)
}

func (m *taskMaker) took(n, end int) recipe.Ref {
	m.table.Take(n, plan.Helper)
	m.numbers = append(m.numbers, n)
	m.ends = append(m.ends, end)
	return recipe.Ref(len(m.numbers) - 1)
}

func (m *taskMaker) Pair(c recipe.Call) (recipe.Ref, recipe.Ref) {
	c.Effect = recipe.GivesPair
	op := m.recipe(program.OpPair, c)
	numbers := m.table.Land(nil, 2)
	m.inTable(numbers[1])
	m.want(op, int64(numbers[0])|int64(numbers[1])<<32)
	m.note().Makes = 2
	return m.took(numbers[0], 0), m.took(numbers[1], 1)
}

// recipe appends a call of the recipe.
func (m *taskMaker) recipe(kind program.OpKind, c recipe.Call) *program.Op {
	return m.writer.recipe(kind, c, m.numberArg)
}

// numberArg sets an argument to the number of a descriptor, and gives its end.
func (m *taskMaker) numberArg(op *program.Op, i int, ref recipe.Ref) int {
	op.Args[i] = uint64(m.numbers[ref])
	return m.ends[ref]
}

func (m *taskMaker) Own(end int) recipe.Ref { return m.own[end] }

func (m *taskMaker) Open(o recipe.Open) recipe.Ref {
	if o.Create || o.Truncate {
		m.Refuse("create or truncate a file")
	}
	m.pl.plan.TasksLook = true
	op := m.look(o.Path, o.Flags&lookFlags)
	m.note().Extra = m.pl.extra(plan.Extra{Path: o.Path})
	ref := m.lands(op)
	m.add(program.OpRefuse, uint64(m.numbers[ref]), uint64(o.Refuse))
	m.note().Extra = m.pl.extra(plan.Extra{Path: o.Path})
	if o.Flags&unix.O_PATH != 0 {
		return ref
	}
	return m.reopen(o.Path, ref, o.Flags)
}

// reopen opens what look found, and closes look.
func (m *taskMaker) reopen(path string, look recipe.Ref, flags int) recipe.Ref {
	proc := m.pl.plan.Arena.String(fmt.Sprintf("%s%d", program.FDFolder, m.numbers[look]))
	flags |= unix.O_NOCTTY | unix.O_CLOEXEC
	var op *program.Op
	if flags&unix.O_NOFOLLOW != 0 {
		op = m.reopenAt(path, flags, proc)
		op.Args[2] = uint64(m.numbers[look])
	} else {
		op = m.call(unix.SYS_OPENAT, atFDCWD(), proc, uint64(flags))
	}
	m.note().Extra = m.pl.extra(plan.Extra{Path: path})
	ref := m.lands(op)
	m.drop(m.numbers[look])
	return ref
}
