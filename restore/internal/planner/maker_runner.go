package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// runnerMaker writes the recipe of an open file that the runner makes once. The
// runner's table is the caller's and cannot be planned, so descriptors go
// through slots.
type runnerMaker struct {
	*writer
	file *tasktree.OpenFile
}

// makeStored plans how the runner makes the open files of the store.
func (pl *planner) makeStored() {
	w := &writer{pl: pl}
	for i, f := range pl.plan.Tree.Files {
		if !pl.stored[i] {
			continue
		}
		w.about(program.VerbMake, f.Pos)
		w.file = i
		m := &runnerMaker{writer: w, file: f}
		for end, ref := range f.Spec.Make(pl.plan.Tree, m) {
			pl.plan.SlotsOf[plan.FileEnd{File: int32(i), End: int32(end)}] = int32(ref)
		}
	}
	pl.plan.Prepare = w.prog
}

// addMessages plans how the runner fills the store, and closes what it has made.
func (pl *planner) addMessages() {
	w := &writer{pl: pl, prog: pl.plan.Prepare}
	for id, message := range pl.plan.Messages {
		slots := make([]int32, len(message))
		for i, fe := range message {
			slots[i] = pl.plan.SlotsOf[fe]
		}
		w.about(program.VerbAdd, pl.plan.Tree.Files[message[0].File].Pos)
		w.file, w.end = int(message[0].File), int(message[0].End)
		w.add(program.OpAdd, pl.plan.Arena.Int32s(slots), uint64(len(slots)), uint64(id))
	}
	pl.plan.Prepare = w.prog
}

func (m *runnerMaker) slot() int32 {
	m.pl.plan.Slots++
	return int32(m.pl.plan.Slots - 1)
}

func (m *runnerMaker) At(pos tasktree.Pos) {
	if pos.IsValid() {
		m.pos = pos
	}
}

func (m *runnerMaker) Call(c tasktree.Call) {
	if c, needed := m.pl.needed(c); needed {
		m.recipe(program.OpCall, c)
	}
}

// needed gives a call of a recipe as this host needs it, and whether it does.
func (pl *planner) needed(c tasktree.Call) (tasktree.Call, bool) {
	if c.NewPipe {
		c.Want, c.HasWant = plan.NewPipe(), true
		return c, pl.plan.Host.PipesLimited
	}
	return c, true
}

func (m *runnerMaker) CallFD(c tasktree.Call) tasktree.Ref {
	return m.keep(m.recipe(program.OpCall, c))
}

// keep makes op put its result in a slot of its own.
func (m *runnerMaker) keep(op *program.Op) tasktree.Ref {
	op.Out = m.slot()
	m.note().Makes = 1
	return tasktree.Ref(op.Out)
}

func (m *runnerMaker) CallPair(c tasktree.Call) (tasktree.Ref, tasktree.Ref) {
	op := m.recipe(program.OpPair, c)
	m.note().Makes = 2
	op.Out = m.slot()
	return tasktree.Ref(op.Out), tasktree.Ref(m.slot())
}

// recipe appends a call of the recipe.
func (m *runnerMaker) recipe(kind program.OpKind, c tasktree.Call) *program.Op {
	return m.writer.recipe(kind, c, m.slotArg)
}

func (m *runnerMaker) slotArg(op *program.Op, i int, ref tasktree.Ref) {
	op.Args[i] = uint64(ref)
	op.SetMode(i, program.ModeSlot)
}

func (m *runnerMaker) Look(path string, flags int, refuse tasktree.FileTypes) tasktree.Ref {
	ref := m.keep(m.look(path, flags))
	m.note().Extra = m.pl.extra(plan.Extra{Path: path})
	m.slotArg(m.add(program.OpRefuse, 0, uint64(refuse)), 0, ref)
	m.note().Extra = m.pl.extra(plan.Extra{Path: path})
	return ref
}

func (m *runnerMaker) Reopen(look tasktree.Ref, flags int) tasktree.Ref {
	path := m.pl.plan.Extras[m.note().Extra].Path
	flags |= unix.O_NOCTTY | unix.O_CLOEXEC
	var op *program.Op
	if flags&unix.O_NOFOLLOW != 0 {
		op = m.reopenAt(path, flags, 0)
		m.slotArg(op, 2, look)
	} else {
		op = m.add(program.OpReopen, 0, uint64(flags))
		m.slotArg(op, 0, look)
	}
	ref := m.keep(op)
	m.note().Extra = m.pl.extra(plan.Extra{Path: path})
	m.slotArg(m.call(unix.SYS_CLOSE), 0, look)
	return ref
}

func (m *runnerMaker) Create(c tasktree.CreateFile) tasktree.Ref {
	a := m.pl.plan.Arena
	op := m.add(program.OpCreate, a.String(c.Path), uint64(c.Flags|unix.O_NOCTTY|unix.O_CLOEXEC), uint64(c.Mode),
		a.Bytes(c.Content), uint64(len(c.Content)), uint64(c.Refuse))
	if c.MustCreate {
		op.Flags |= program.FlagMustCreate
	}
	m.note().Extra = m.pl.extra(plan.Extra{Path: c.Path})
	return m.keep(op)
}

func (m *runnerMaker) Caller(key string) tasktree.Ref {
	op := m.add(program.OpCaller, uint64(m.pl.callerFDs[key]))
	m.note().Extra = m.pl.extra(plan.Extra{Hints: []tasktree.Hint{
		{Errno: int(unix.EBADF), Text: "the caller did not leave this descriptor open"},
	}})
	return m.keep(op)
}

func (m *runnerMaker) TruncateAtCommit(f tasktree.Ref) {
	w := &writer{pl: m.pl, prog: m.pl.plan.Commit}
	w.about(program.VerbTruncate, m.pos)
	w.file = m.file.Index
	op := w.add(program.OpTruncate)
	op.Args[0] = uint64(f)
	op.SetMode(0, program.ModeSlot)
	m.pl.plan.Commit = w.prog
}
