package bench

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// maker takes the steps of one recipe.BenchMaker. They are written when it is known which
// bench makes them.
type maker struct {
	*Pending
	at    origin
	steps []func(*batch)
	puts  bool
	makes bool
	ends  map[recipe.Cell]int // the status of each child
	given []recipe.Ref
}

// then adds a step, for what asks for it now.
func (m *maker) then(step func(b *batch)) {
	at := m.at
	m.steps = append(m.steps, func(b *batch) {
		b.About(program.VerbMake, at.pos, at.file)
		step(b)
	})
}

// number is the Ref of a number of the bench's choice: those of slots are not negative.
func number(n int) recipe.Ref { return recipe.Ref(-1 - n) }

// setRef puts in a slot, or a number of the bench's choice.
func setRef(op *program.Op, i int, ref recipe.Ref) int {
	if ref >= 0 {
		return inSlot(op, i, ref)
	}
	op.Args[i] = uint64(-1 - ref)
	return 0
}

// atNumbers says which arguments of a call are numbers of the bench's choice.
func atNumbers(args []recipe.Arg) (uses []plan.Use) {
	for i, a := range args {
		if a.Kind == recipe.ArgFD && a.Ref < 0 {
			uses = append(uses, plan.Use{Arg: i, What: plan.Put})
		}
	}
	return uses
}

func (m *maker) At(pos tasktree.Pos) {
	if pos.IsValid() {
		m.at.pos = pos
	}
}

func (m *maker) Call(c recipe.Call) {
	if m.plan.Host.Holds(c.When) {
		m.then(func(b *batch) { m.call(b, c) })
	}
}

// call writes a call of a bench.
func (p *Pending) call(b *batch, c recipe.Call) (*program.Op, *program.Note) {
	op, note := b.Recipe(program.OpCall, c, setRef)
	note.Extra = p.planner.Extra(plan.Extra{Name: c.Name, Short: c.Short, Hints: c.Hints, Uses: atNumbers(c.Args)})
	return op, note
}

func (m *maker) FD(c recipe.Call) recipe.Ref {
	m.makes = true
	slot := m.plan.NewSlot()
	c.Effect = recipe.GivesFD
	m.then(func(b *batch) {
		op, note := m.call(b, c)
		op.Out, note.Makes = slot, 1
	})
	return recipe.Ref(slot)
}

func (m *maker) Undo(path string) {
	made := m.Cell()
	m.then(func(b *batch) {
		prog := b.Program()
		last := len(prog.Ops) - 1
		prog.Ops[last].Flags |= program.FlagUndo
		x := m.plan.Extras[prog.Notes[last].Extra]
		x.Path = path
		prog.Notes[last].Extra = m.planner.Extra(x)
		b.Add(program.OpStore, 1, uint64(made))
	})
}

func (m *maker) Put(f recipe.Ref, n int) recipe.Ref {
	m.puts = true
	if hard := m.plan.Host.HardFiles; uint64(n) >= hard {
		m.refuse(m.at.pos, "number %d cannot be taken: the hard RLIMIT_NOFILE is %d, so the highest number is %d (raise it with ulimit -Hn, which needs CAP_SYS_RESOURCE)", n, hard, hard-1)
	}
	m.then(func(b *batch) {
		m.reach(b, n)
		b.numbers[n] = true
		_, note := b.Recipe(program.OpCall, recipe.Call{
			Nr: unix.SYS_DUP3, Args: []recipe.Arg{recipe.FD(f), recipe.Int(int64(n)), recipe.Int(0)}, Want: int64(n), HasWant: true,
		}, setRef)
		note.Effect, note.Extra = program.EffectReplaces, 0
	})
	return number(n)
}

// reach raises the soft limit where the number needs it: the Go runtime has raised it, but
// not to the hard one, see init in syscall/rlimit.go.
func (m *maker) reach(b *batch, n int) {
	h := m.plan.Host
	if h.SoftFiles >= h.HardFiles || uint64(n) < h.HardFiles-1 || b.raised {
		return
	}
	b.raised = true
	hard := recipe.Int(int64(h.HardFiles))
	m.call(b, recipe.Call{
		Name: "prlimit64", Nr: unix.SYS_PRLIMIT64, Effect: recipe.Limit,
		Args: []recipe.Arg{recipe.Int(0), recipe.Int(unix.RLIMIT_NOFILE), recipe.Struct(hard, hard), recipe.Int(0)},
	})
}

func (m *maker) Close(f recipe.Ref) { m.Call(closing(f)) }

func (m *maker) Give(files ...recipe.Ref) {
	m.given = append(m.given, files...)
	m.then(func(b *batch) {
		for _, f := range files {
			b.gives = append(b.gives, int32(f))
		}
	})
}

func (m *maker) Cell() recipe.Cell { return recipe.Cell(m.plan.Arena.Cell()) }

func (m *maker) Child(status int) recipe.Cell {
	cell := m.Cell()
	m.then(func(b *batch) {
		a := m.plan.Arena
		// The kernel writes the cell before the child runs, so that it is known whoever is
		// killed when.
		clone := a.Clone(program.CloneArgs{Flags: unix.CLONE_PARENT_SETTID, Parent: uint64(cell), Signal: uint64(unix.SIGCHLD)})
		op, note := b.Add(program.OpChild, clone, 0, 0, uint64(cell))
		m.clones(op, note)
		_, note = b.Add(program.OpEnd, uint64(status))
		note.Extra = m.planner.Extra(plan.Extra{Name: "exit_group(child)"})
	})
	m.ends[cell] = status
	return cell
}

func (m *maker) Reap(cell recipe.Cell) {
	m.then(func(b *batch) {
		const exited = 8  // bits to the left stands the status of exit_group in that of wait4
		const outcome = 4 // bytes behind the pid
		_, note := b.Add(program.OpReap, uint64(cell), uint64(m.ends[cell])<<exited, uint64(cell)+outcome)
		note.Extra = m.planner.Extra(plan.Extra{Name: "wait4(child)"})
	})
}
