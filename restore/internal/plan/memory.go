package plan

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// Memory says where the memory of a plan lies and what of the memory of the process that
// restores the tasks keep. It is room for tasks that get memory of their own back: that
// must lie where it lay. The zero value suits tasks that hold or run a program.
type Memory struct {
	// Base is where the arena lies, and nowhere else: a multiple of program.BaseUnit
	// from program.LowestBase on. What the process that restores has there already
	// makes the start fail. Default: 0, the first of the program.BaseTries places that
	// is free.
	Base uint64

	// Place is which of those places that is; nothing if Base is not 0.
	Place int

	// VDSO has tasks keep the vdso and its data (vvar), if the kernel gave this process
	// one. They cost page tables of three levels in each task, so tasks shed them
	// otherwise.
	VDSO bool

	// Code is position-independent code that each task keeps in a page of its own,
	// private, readable and executable, program.CodeGap below the arena: at most
	// program.CodeSize bytes. Nothing runs it. Default: nil, there is no page.
	Code []byte
}

// Start gives where the arena lies.
func (m *Memory) Start() uint64 {
	if m.Base != 0 {
		return m.Base
	}
	return program.Place(m.Place)
}

// CheckArena reports why the memory of a plan cannot lie where it is said to.
func (p *Plan) CheckArena() error {
	base, size := p.Arena.Base, uint64(p.ArenaSize())
	switch {
	case base%program.BaseUnit != 0:
		return fmt.Errorf("restore: base %#x: it must be a multiple of %#x, of the largest pages", base, program.BaseUnit)
	case base < program.LowestBase || base > program.EndOfBases || size > program.EndOfBases-base:
		return fmt.Errorf("restore: base %#x: the plan takes %#x bytes and must lie between %#x and %#x", base, size, program.LowestBase, uint64(program.EndOfBases))
	case len(p.Options.Code) > program.CodeSize:
		return fmt.Errorf("restore: %d bytes of code: there is room for %d", len(p.Options.Code), program.CodeSize)
	}
	return nil
}

// NoRoom is the error of an arena that could not be mapped. inTheWay says which memory of
// this process overlaps it.
func (p *Plan) NoRoom(err error, inTheWay func(base uint64, size int, code bool) string) error {
	if p.Options.Base == 0 || !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("restore: memory for the plan: %w", err)
	}
	return &HostError{Source: p.Tree.Source, Lacks: []Lack{{
		Pos: p.Tree.Root.Pos, Err: err,
		Msg: inTheWay(p.Arena.Base, p.ArenaSize(), len(p.Options.Code) > 0) + "; plan another base",
	}}}
}
