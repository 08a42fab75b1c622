package bench

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// Writer writes ops at the end of a program: the runner's, or a bench's.
type Writer interface {
	// About says what the ops that follow are for, and for which open file.
	About(verb program.Verb, pos tasktree.Pos, file int)
	// Add appends an op.
	Add(kind program.OpKind, args ...uint64) (*program.Op, *program.Note)
	// Recipe appends a call of a recipe, whose Refs set puts in.
	Recipe(kind program.OpKind, c recipe.Call, set SetRef) (*program.Op, *program.Note)
	// Message appends a message of a recipe.
	Message(m recipe.Message, set SetRef)
	// Program gives what has been written.
	Program() program.Program
}

// SetRef puts an open file into an argument of an op, and gives the end of the file that
// it is.
type SetRef func(op *program.Op, i int, ref recipe.Ref) (end int)

// Planner is what Pending needs of the planner.
type Planner interface {
	// Begin begins the program of a bench.
	Begin() Writer
	// Folder has the runner open a folder as a mere place.
	Folder(path string) recipe.Ref
	// Extra gives the index of an extra.
	Extra(plan.Extra) int32
}

// Pending are the batches of steps that are not yet in the runner's program.
type Pending struct {
	plan    *plan.Plan
	planner Planner
	batches []*batch
	err     error
}

// batch is what one bench will do.
type batch struct {
	Writer
	bench recipe.Bench
	puts  bool // it takes numbers
	makes bool // it makes files

	files   map[int]bool // whose steps it makes, or whose open files these use
	first   origin
	folder  int32 // slot of its folder, if it has one of its own
	channel int32 // slot of its end of the way back, one more than the runner's
	gives   []int32
	numbers map[int]bool
	raised  bool // its RLIMIT_NOFILE
}

// origin says who asks for a step.
type origin struct {
	pos  tasktree.Pos
	file int
}

// For begins without a batch.
func For(p *plan.Plan, planner Planner) *Pending { return &Pending{plan: p, planner: planner} }

// Err gives why the steps cannot be made here, a [*plan.RefusedError].
func (p *Pending) Err() error { return p.err }

// Steps takes steps of a recipe: of an open file, which may use others. It writes what
// must be made before to the runner's program. It gives what comes back.
func (p *Pending) Steps(runner Writer, b recipe.Bench, pos tasktree.Pos, file int, uses []int, steps func(recipe.BenchMaker)) (given []recipe.Ref) {
	m := &maker{Pending: p, at: origin{pos, file}, ends: map[recipe.Cell]int{}}
	steps(m)
	if m.puts && m.makes {
		panic("restore: bug: a bench takes numbers and makes files: the files belong into one of their own, before it: " + p.plan.Tree.Files[file].Name)
	}
	into := p.batch(b, m)
	files := append(slices.Clone(uses), file)
	p.settle(runner, files, into)
	for _, f := range files {
		into.files[f] = true
	}
	for _, step := range m.steps {
		step(into)
	}
	return m.given
}

// batch gives the batch that steps belong to.
func (p *Pending) batch(b recipe.Bench, m *maker) *batch {
	for _, known := range p.batches {
		mixed := m.makes && known.puts || m.puts && known.makes
		if same(known.bench, b) && !mixed {
			known.puts, known.makes = known.puts || m.puts, known.makes || m.makes
			return known
		}
	}
	into := &batch{Writer: p.planner.Begin(), bench: b, puts: m.puts, makes: m.makes, files: map[int]bool{}, first: m.at, numbers: map[int]bool{}}
	if b.Cwd != "" {
		into.folder = int32(p.planner.Folder(b.Cwd))
	}
	p.batches = append(p.batches, into)
	p.setUp(into)
	return into
}

// same reports whether two benches have the same settings.
func same(a, b recipe.Bench) bool {
	return a.Cwd == b.Cwd && a.New == b.New && (a.As == nil) == (b.As == nil) &&
		(a.As == nil || a.As.UID == b.As.UID && a.As.GID == b.As.GID && slices.Equal(a.As.Groups, b.As.Groups))
}

// Any reports whether there is one.
func (p *Pending) Any() bool { return len(p.batches) > 0 }

// Settle writes to the runner's program what must be made before its next op, which
// names these open files.
func (p *Pending) Settle(runner Writer, files []int) { p.settle(runner, files, nil) }

// settle does that, and leaves one batch alone.
func (p *Pending) settle(runner Writer, files []int, but *batch) {
	p.batches = slices.DeleteFunc(p.batches, func(b *batch) bool {
		if b == but || !slices.ContainsFunc(files, func(f int) bool { return b.files[f] }) {
			return false
		}
		p.emit(runner, b)
		return true
	})
}

// All writes everything to the runner's program.
func (p *Pending) All(runner Writer) {
	for _, b := range p.batches {
		p.emit(runner, b)
	}
	p.batches = nil
}

// mostGiven is how many files come back with a message: a note counts no more.
const mostGiven = 127

// emit writes what the runner does, and ends the bench's program.
func (p *Pending) emit(runner Writer, b *batch) {
	runner.About(program.VerbBench, b.first.pos, b.first.file)
	if len(b.gives) > 0 {
		back := p.plan.NewSlot()
		b.channel = p.plan.NewSlot()
		op, note := runner.Recipe(program.OpPair, recipe.Call{
			Name: "socketpair", Nr: unix.SYS_SOCKETPAIR, Effect: recipe.GivesPair,
			Args: []recipe.Arg{recipe.Int(unix.AF_UNIX), recipe.Int(unix.SOCK_SEQPACKET | unix.SOCK_CLOEXEC), recipe.Int(0), recipe.PairAt()},
		}, nil)
		op.Out, note.Makes = back, 2
	}
	p.finish(b)
	op, note := runner.Add(program.OpBench, uint64(len(p.plan.Benches)))
	p.clones(op, note)
	p.plan.Benches = append(p.plan.Benches, p.result(b))
	if len(b.gives) > 0 {
		for given := range slices.Chunk(b.gives, mostGiven) {
			op, note := runner.Add(program.OpReceive, uint64(b.channel-1), p.plan.Arena.Int32s(given), uint64(len(given)))
			op.SetMode(0, program.ModeSlot)
			note.Makes = int8(len(given))
		}
		closes(runner, b.channel-1)
		closes(runner, b.channel)
	}
	if b.bench.Cwd != "" {
		closes(runner, b.folder)
	}
}

// clones completes an op that makes a process.
func (p *Pending) clones(op *program.Op, note *program.Note) {
	if p.plan.Host.OldClone {
		op.Flags |= program.FlagOldClone
	}
	note.Extra = p.plan.ForkHints
}

// result gives the bench of a batch.
func (p *Pending) result(b *batch) plan.Bench {
	a := p.plan.Arena
	bench := plan.Bench{Program: b.Program(), Record: a.AddRecord(), PIDFD: a.Cell()}
	for n := range b.numbers {
		bench.Numbers = append(bench.Numbers, n)
	}
	slices.Sort(bench.Numbers)
	clone := program.CloneArgs{Flags: unix.CLONE_PIDFD, PIDFD: bench.PIDFD} // no signal: nobody who waits for children finds it
	if !p.plan.Host.OldClone {
		clone.Flags |= unix.CLONE_CLEAR_SIGHAND
	}
	bench.Clone = a.Clone(clone)
	for i := range bench.Ops {
		if bench.Ops[i].Kind == program.OpChild {
			bench.Ops[i].Args[1] = uint64(a.AddRecord())
		}
	}
	return bench
}

// closes appends the close of a slot's open file.
func closes(w Writer, slot int32) {
	w.Recipe(program.OpCall, closing(recipe.Ref(slot)), inSlot)
}

// closing is the close of a descriptor. EINTR is of what the file's last writes met; the
// number is free all the same, see close(2).
func closing(f recipe.Ref) recipe.Call {
	return recipe.Call{Name: "close", Nr: unix.SYS_CLOSE, Effect: recipe.Closes, Allow: int(unix.EINTR), Args: []recipe.Arg{recipe.FD(f)}}
}

// inSlot puts in a slot.
func inSlot(op *program.Op, i int, ref recipe.Ref) int {
	op.Args[i] = uint64(ref)
	op.SetMode(i, program.ModeSlot)
	return 0
}

// refuse notes why the plan cannot be carried out here.
func (p *Pending) refuse(pos tasktree.Pos, format string, args ...any) {
	if p.err == nil {
		p.err = &plan.RefusedError{Source: p.plan.Tree.Source, Pos: pos, Msg: fmt.Sprintf(format, args...)}
	}
}
