package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/bench"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// storedFiles is what the recipes of the open files that the runner makes have in common.
type storedFiles struct {
	*writer
	benches *bench.Pending
	spares  bench.Spares
}

func newStoredFiles(pl *planner) *storedFiles {
	s := &storedFiles{writer: &writer{pl: pl}}
	s.benches = bench.For(pl.plan, benchPlanner{s})
	return s
}

// maker begins the part of a file in a phase.
func (s *storedFiles) maker(file int, own []recipe.Ref) *runnerMaker {
	s.spares.EndRecipe(s.pos, s.file)
	f := s.pl.plan.Tree.Files[file]
	s.aboutFile(program.VerbMake, f.Pos, file)
	return &runnerMaker{storedFiles: s, file: f, own: own}
}

// endPhase has benches end, and closes what was made on the way.
func (s *storedFiles) endPhase() {
	s.spares.EndRecipe(s.pos, s.file)
	s.benches.All(benchWriter{s.writer})
	s.spares.EndPhase(benchWriter{s.writer})
}

// finish gives the plan what has been written. The error is a [*plan.RefusedError].
func (s *storedFiles) finish() error {
	p := s.pl.plan
	p.Prepare, s.pl.spares = s.prog, &s.spares
	ready := &writer{pl: s.pl} // before what the commit point changes for good
	s.spares.Close(benchWriter{ready}, recipe.UntilReady)
	if len(ready.prog.Ops) > 0 {
		p.Commit = program.Program{Ops: append(ready.prog.Ops, p.Commit.Ops...), Notes: append(ready.prog.Notes, p.Commit.Notes...)}
	}
	return s.benches.Err()
}

// toSlot makes op put its result in a slot of its own.
func (s *storedFiles) toSlot(op *program.Op) recipe.Ref {
	op.Out = s.pl.plan.NewSlot()
	s.note().Makes = 1
	return recipe.Ref(op.Out)
}

// lookAt opens a path as a mere place.
func (s *storedFiles) lookAt(o recipe.Open, flags int) recipe.Ref {
	ref := s.toSlot(s.look(o.Path, flags))
	s.note().Extra = s.pl.extra(plan.Extra{Path: o.Path})
	inSlot(s.add(program.OpRefuse, 0, uint64(o.Refuse)), 0, ref)
	s.note().Extra = s.pl.extra(plan.Extra{Path: o.Path})
	return ref
}

func (m *runnerMaker) Keep(f recipe.Ref, until recipe.Until) {
	m.spares.Keep(f, until, m.pos, m.file.Index)
}

func (m *runnerMaker) Bench(b recipe.Bench, steps func(recipe.BenchMaker)) {
	m.aside(func(w bench.Writer) {
		m.spares.Made(m.benches.Steps(w, b, m.pos, m.file.Index, m.uses, steps)...)
	})
}

// settle writes what benches must have made before the maker's next op.
func (m *runnerMaker) settle() {
	if m.benches.Any() {
		m.aside(func(w bench.Writer) { m.benches.Settle(w, append(m.uses, m.file.Index)) })
	}
}

// aside writes ops for another reason than those that follow.
func (s *storedFiles) aside(write func(bench.Writer)) {
	verb, pos, file := s.verb, s.pos, s.file
	write(benchWriter{s.writer})
	s.aboutFile(verb, pos, file)
}

// benchWriter is what package bench writes ops with.
type benchWriter struct{ w *writer }

func (b benchWriter) About(v program.Verb, pos tasktree.Pos, file int) { b.w.aboutFile(v, pos, file) }
func (b benchWriter) Message(m recipe.Message, set bench.SetRef)       { b.w.message(m, set) }
func (b benchWriter) Program() program.Program                         { return b.w.prog }

func (b benchWriter) Add(kind program.OpKind, args ...uint64) (*program.Op, *program.Note) {
	return b.w.add(kind, args...), b.w.note()
}

func (b benchWriter) Recipe(kind program.OpKind, c recipe.Call, set bench.SetRef) (*program.Op, *program.Note) {
	return b.w.recipe(kind, c, set), b.w.note()
}

// benchPlanner is what it needs of the planner beside that.
type benchPlanner struct{ *storedFiles }

func (b benchPlanner) Begin() bench.Writer      { return benchWriter{&writer{pl: b.pl}} }
func (b benchPlanner) Extra(x plan.Extra) int32 { return b.pl.extra(x) }

func (b benchPlanner) Folder(path string) recipe.Ref {
	return b.lookAt(recipe.Open{Path: path}, unix.O_DIRECTORY)
}
