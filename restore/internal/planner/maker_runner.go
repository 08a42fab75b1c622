package planner

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/assign"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// lookFlags are the flags of open(2) that count for a look already.
const lookFlags = unix.O_NOFOLLOW | unix.O_DIRECTORY

// runnerMaker writes the recipe of an open file that the runner makes once. The
// runner's table is the caller's and cannot be planned, so descriptors go
// through slots.
type runnerMaker struct {
	*storedFiles
	file *tasktree.OpenFile
	own  []recipe.Ref // by end, once made
	uses []int        // other open files that the recipe has named in this phase
}

// makeStored plans how the runner makes the open files of the store: each phase for
// all of them, before the next begins.
func (pl *planner) makeStored() error {
	order, err := assign.Order(pl.plan.Tree, pl.stored)
	if err != nil {
		return err
	}
	t := pl.plan.Tree
	s := newStoredFiles(pl)
	made := make([][]recipe.Ref, len(t.Files))
	for _, i := range order {
		m := s.maker(i, nil)
		made[i] = t.Files[i].Spec.Make(t, m)
		m.slots(made[i])
		s.spares.Done(made[i]...)
	}
	s.endPhase()
	for _, i := range order {
		if filled, ok := t.Files[i].Spec.(tasktree.Filled); ok {
			filled.Fill(t, s.maker(i, made[i]))
		}
	}
	s.endPhase()
	for _, i := range order {
		if shaped, ok := t.Files[i].Spec.(tasktree.Shaped); ok {
			shaped.Shape(t, s.maker(i, made[i]))
		}
	}
	s.endPhase()
	return s.finish()
}

// slots says where the open files of an entry are: made, or given by the caller.
func (m *runnerMaker) slots(made []recipe.Ref) {
	ends := made
	keys, pos := tasktree.GivenEnds(m.file.Spec)
	if keys != nil {
		m.At(pos)
		ends = append(slices.Clone(made), make([]recipe.Ref, len(keys)-len(made))...)
	}
	given := recipe.Ref(-1)
	for end, key := range keys {
		if key != "" {
			ends[end] = m.Caller(key)
			given = ends[end]
		}
	}
	for end := range ends {
		if made == nil && keys[end] == "" {
			ends[end] = given // no task uses it
		}
		m.pl.plan.SlotsOf[plan.FileEnd{File: int32(m.file.Index), End: int32(end)}] = int32(ends[end])
	}
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
	pl.spares.Close(benchWriter{w}, recipe.UntilStored)
	pl.plan.Prepare = w.prog
}

func (m *runnerMaker) Call(c recipe.Call) {
	if !m.pl.plan.Host.Holds(c.When) {
		return
	}
	m.recipe(program.OpCall, c)
	if c.Effect == recipe.Closes {
		m.spares.Done(c.Args[0].Ref)
	}
}

func (m *runnerMaker) FD(c recipe.Call) recipe.Ref {
	c.Effect = recipe.GivesFD
	return m.makes(m.toSlot(m.recipe(program.OpCall, c)))
}

// makes notes what the recipe has made.
func (m *runnerMaker) makes(ref recipe.Ref) recipe.Ref {
	m.spares.Made(ref)
	return ref
}

func (m *runnerMaker) Pair(c recipe.Call) (recipe.Ref, recipe.Ref) {
	c.Effect = recipe.GivesPair
	op := m.recipe(program.OpPair, c)
	m.note().Makes = 2
	op.Out = m.pl.plan.NewSlot()
	return m.makes(recipe.Ref(op.Out)), m.makes(recipe.Ref(m.pl.plan.NewSlot()))
}

// recipe appends a call of the recipe.
func (m *runnerMaker) recipe(kind program.OpKind, c recipe.Call) *program.Op {
	m.settle()
	return m.writer.recipe(kind, c, inSlot)
}

// inSlot puts in a slot. What is in it the model knows without being told.
func inSlot(op *program.Op, i int, ref recipe.Ref) int {
	op.Args[i] = uint64(ref)
	op.SetMode(i, program.ModeSlot)
	return 0
}

func (m *runnerMaker) Own(end int) recipe.Ref { return m.own[end] }

func (m *runnerMaker) Use(file string, end int) recipe.Ref {
	used := m.pl.plan.Tree.FileNamed(file).Index
	m.uses = append(m.uses, used)
	return recipe.Ref(m.pl.plan.SlotsOf[plan.FileEnd{File: int32(used), End: int32(end)}])
}

func (m *runnerMaker) Open(o recipe.Open) (f recipe.Ref) {
	m.settle()
	switch {
	case o.Create:
		f = m.create(o)
	case o.Flags&unix.O_PATH != 0:
		f = m.lookAt(o, o.Flags&lookFlags)
	default:
		f = m.reopen(o.Path, m.lookAt(o, o.Flags&lookFlags), o.Flags)
	}
	if o.Truncate {
		m.truncate(f, o.TruncatePos)
	}
	return m.makes(f)
}

// reopen opens what look found, and closes look. It goes through /proc/self/fd, so
// /proc must be mounted.
func (m *runnerMaker) reopen(path string, look recipe.Ref, flags int) recipe.Ref {
	flags |= unix.O_NOCTTY | unix.O_CLOEXEC
	var op *program.Op
	if flags&unix.O_NOFOLLOW != 0 {
		op = m.reopenAt(path, flags, 0)
		inSlot(op, 2, look)
	} else {
		op = m.add(program.OpReopen, 0, uint64(flags))
		inSlot(op, 0, look)
	}
	ref := m.toSlot(op)
	m.note().Extra = m.pl.extra(plan.Extra{Path: path})
	inSlot(m.call(unix.SYS_CLOSE), 0, look)
	return ref
}

func (m *runnerMaker) create(o recipe.Open) recipe.Ref {
	a := m.pl.plan.Arena
	op := m.add(program.OpCreate, a.String(o.Path), uint64(o.Flags|unix.O_NOCTTY|unix.O_CLOEXEC), uint64(o.Mode),
		a.Bytes(o.Content), uint64(len(o.Content)), uint64(o.Refuse))
	if o.Must {
		op.Flags |= program.FlagMustCreate
	}
	m.note().Extra = m.pl.extra(plan.Extra{Path: o.Path})
	return m.toSlot(op)
}

func (m *runnerMaker) truncate(f recipe.Ref, pos tasktree.Pos) {
	w := &writer{pl: m.pl, prog: m.pl.plan.Commit}
	w.aboutFile(program.VerbTruncate, m.pos, m.file.Index)
	w.At(pos)
	inSlot(w.add(program.OpTruncate), 0, f)
	m.pl.plan.Commit = w.prog
}

func (m *runnerMaker) Caller(key string) recipe.Ref {
	op := m.add(program.OpCaller, uint64(m.pl.callerFDs[key]))
	m.note().Extra = m.pl.extra(plan.Extra{Hints: []recipe.Hint{
		{Errno: int(unix.EBADF), Text: "the caller did not leave this descriptor open"},
	}})
	return m.toSlot(op)
}

func (m *runnerMaker) Cell() recipe.Cell { return recipe.Cell(m.pl.plan.Arena.Cell()) }

func (m *runnerMaker) Await(c recipe.Call, in recipe.Cell, least int64) {
	op := m.recipe(program.OpPoll, c)
	op.Args[4], op.Args[5] = uint64(in), uint64(least)
}

func (m *runnerMaker) Learn(key string, n recipe.Part) {
	m.pl.plan.Learned = append(m.pl.plan.Learned, plan.Learned{File: int32(m.file.Index), Key: key, At: uint64(n.Cell) + uint64(n.Offset), Part: n})
}

func (m *runnerMaker) Undo(path string) {
	m.prog.Ops[len(m.prog.Ops)-1].Flags |= program.FlagUndo
	x := m.pl.plan.Extras[m.note().Extra]
	x.Path = path
	m.note().Extra = m.pl.extra(x)
}

func (m *runnerMaker) Message(message recipe.Message) {
	m.settle()
	m.message(message, inSlot)
}

func (m *runnerMaker) Mapped(w recipe.Mapped) {
	m.settle()
	op := m.add(program.OpMapped, 0, uint64(w.Page), uint64(w.Offset), m.pl.plan.Arena.Bytes(w.Data), uint64(len(w.Data)))
	inSlot(op, 0, w.To)
	m.note().Extra = m.pl.extra(plan.Extra{Hints: w.Hints})
}

func (m *runnerMaker) Reopen(o recipe.Reopen) recipe.Ref {
	m.settle()
	op := m.add(program.OpReopen, 0, uint64(o.Flags|unix.O_NOCTTY|unix.O_CLOEXEC))
	inSlot(op, 0, o.Of)
	ref := m.toSlot(op)
	m.note().Extra = m.pl.extra(plan.Extra{Hints: o.Hints})
	return m.makes(ref)
}
