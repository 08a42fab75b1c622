package planner

import (
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// taskMaker writes the recipe of an open file that one task makes for itself.
// It knows the task's table, so every number is known beforehand.
type taskMaker struct {
	*taskPlanner
	file    *tasktree.OpenFile
	numbers []int // by Ref
}

func (m *taskMaker) At(pos tasktree.Pos) {
	if pos.IsValid() {
		m.pos = pos
	}
}

func (m *taskMaker) Call(c tasktree.Call) {
	if c, needed := m.pl.needed(c); needed {
		m.recipe(program.OpCall, c)
	}
}

func (m *taskMaker) CallFD(c tasktree.Call) tasktree.Ref {
	op := m.recipe(program.OpCall, c)
	return m.lands(op)
}

// lands makes op demand the number where its descriptor must land, and takes
// that number.
func (m *taskMaker) lands(op *program.Op) tasktree.Ref {
	n := m.table.Lowest()
	m.inTable(n)
	m.want(op, int64(n))
	m.note().Makes = 1
	return m.took(n)
}

func (m *taskMaker) took(n int) tasktree.Ref {
	m.table.Take(n, plan.Helper)
	m.numbers = append(m.numbers, n)
	return tasktree.Ref(len(m.numbers) - 1)
}

func (m *taskMaker) CallPair(c tasktree.Call) (tasktree.Ref, tasktree.Ref) {
	op := m.recipe(program.OpPair, c)
	numbers := m.table.Land(nil, 2)
	m.inTable(numbers[1])
	m.want(op, int64(numbers[0])|int64(numbers[1])<<32)
	m.note().Makes = 2
	return m.took(numbers[0]), m.took(numbers[1])
}

// recipe appends a call of the recipe.
func (m *taskMaker) recipe(kind program.OpKind, c tasktree.Call) *program.Op {
	return m.writer.recipe(kind, c, func(op *program.Op, i int, ref tasktree.Ref) { op.Args[i] = uint64(m.numbers[ref]) })
}

func (m *taskMaker) Look(path string, flags int, refuse tasktree.FileTypes) tasktree.Ref {
	m.pl.plan.TasksLook = true
	op := m.look(path, flags)
	m.note().Extra = m.pl.extra(plan.Extra{Path: path})
	ref := m.lands(op)
	m.add(program.OpRefuse, uint64(m.numbers[ref]), uint64(refuse))
	m.note().Extra = m.pl.extra(plan.Extra{Path: path})
	return ref
}

func (m *taskMaker) Reopen(look tasktree.Ref, flags int) tasktree.Ref {
	proc := m.pl.plan.Arena.String(fmt.Sprintf("%s%d", program.FDFolder, m.numbers[look]))
	path := m.pl.plan.Extras[m.note().Extra].Path
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

// drop closes a number of the recipe.
func (m *taskMaker) drop(n int) {
	m.call(unix.SYS_CLOSE, uint64(n))
	m.table.Release(n)
}

func (m *taskMaker) Create(tasktree.CreateFile) tasktree.Ref {
	panic("restore: bug: a task does not create files: " + m.file.Name)
}

func (m *taskMaker) Caller(string) tasktree.Ref {
	panic("restore: bug: a task does not have the caller's descriptors: " + m.file.Name)
}

func (m *taskMaker) TruncateAtCommit(tasktree.Ref) {
	panic("restore: bug: a task does not truncate files: " + m.file.Name)
}
