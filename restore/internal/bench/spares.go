package bench

import (
	"slices"

	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// Spares are the descriptors that recipes make besides the ends of their files. Each is
// closed when the phase ends, or kept.
type Spares struct {
	made  []recipe.Ref // by the recipe that is being written
	loose []spare      // by those of this phase
	keeps [recipe.UntilReleased][]spare
}

// spare is one of them.
type spare struct {
	slot int32
	from origin
}

// Made notes what a recipe has made.
func (s *Spares) Made(refs ...recipe.Ref) { s.made = append(s.made, refs...) }

// Done notes that a descriptor is no spare any more: closed, or an end.
func (s *Spares) Done(refs ...recipe.Ref) {
	s.made = slices.DeleteFunc(s.made, func(r recipe.Ref) bool { return slices.Contains(refs, r) })
}

// Keep notes how long one is kept.
func (s *Spares) Keep(f recipe.Ref, until recipe.Until, pos tasktree.Pos, file int) {
	if !slices.Contains(s.made, f) {
		panic("restore: bug: a recipe keeps what it has not made")
	}
	s.Done(f)
	if until < recipe.UntilReleased { // then it is closed with all that the runner has
		s.keeps[until] = append(s.keeps[until], spare{int32(f), origin{pos, file}})
	}
}

// EndRecipe notes that the recipe of a file has been written.
func (s *Spares) EndRecipe(pos tasktree.Pos, file int) {
	for _, f := range s.made {
		s.loose = append(s.loose, spare{int32(f), origin{pos, file}})
	}
	s.made = s.made[:0]
}

// EndPhase closes those of a phase.
func (s *Spares) EndPhase(runner Writer) {
	closeAll(runner, s.loose)
	s.loose = s.loose[:0]
}

// Close closes those that are kept until then.
func (s *Spares) Close(runner Writer, until recipe.Until) { closeAll(runner, s.keeps[until]) }

func closeAll(w Writer, spares []spare) {
	for _, s := range spares {
		w.About(program.VerbMake, s.from.pos, s.from.file)
		closes(w, s.slot)
	}
}
