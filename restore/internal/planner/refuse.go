package planner

import (
	"fmt"

	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// raise says what makes a refused tree possible.
func raise(limit int) string {
	return fmt.Sprintf("raise it to %d with ulimit -Hn, which needs CAP_SYS_RESOURCE", limit)
}

// leastOwn is what the process that restores has open beside the tree's files in
// any case: the standard descriptors, which Go opens if nobody else has, the
// store, the root's pidfd.
const leastOwn = 5

// checkRunner refuses a tree with more open files than the process that restores
// can have at once. What its caller left it open besides is not known here: where
// that is too much, the op that finds no number says so.
func (pl *planner) checkRunner() error {
	p := pl.plan
	files := 0
	for fe := range p.SlotsOf {
		if tasktree.CallerKey(p.Tree.Files[fe.File].Spec) == "" {
			files++
		}
	}
	own := leastOwn
	if uint64(files+own) <= p.Host.HardFiles || files == 0 {
		return nil
	}
	return &plan.RefusedError{Source: p.Tree.Source, Pos: p.Tree.Root.Pos, Msg: fmt.Sprintf(
		"the process that restores has %d open files of the tree at once, and %d descriptors of its own (standard ones, the store, a pidfd), %d in all: "+
			"the hard RLIMIT_NOFILE is %d (%s; a file that one task alone uses, and that is not created, is opened there)",
		files, own, files+own, p.Host.HardFiles, raise(files+own))}
}

// checkLent refuses a tree whose root cannot have every open file at once.
func (pl *planner) checkLent() error {
	p := pl.plan
	for _, l := range p.Lent {
		if uint64(l.Number) >= p.Host.HardFiles {
			return &plan.RefusedError{Source: p.Tree.Source, Pos: p.Tree.Root.Pos, Msg: fmt.Sprintf(
				"the strategy inherit gives the root all %d open files of the tree at once, up to number %d, and the hard RLIMIT_NOFILE is %d (%s; the strategy fdstore gives each task only its own)",
				len(p.Lent), l.Number, p.Host.HardFiles, raise(l.Number+1))}
		}
		pl.probe = max(pl.probe, uint64(l.Number+len(p.Lent)))
	}
	if n := len(p.Lent); n > 0 && uint64(2*n+leastOwn) > p.Host.HardFiles { // see run.lend
		return &plan.RefusedError{Source: p.Tree.Source, Pos: p.Tree.Root.Pos, Msg: fmt.Sprintf(
			"the strategy inherit needs %d numbers in the process that restores, for each of the %d open files of the tree the one that the root will have and another one, and %d for itself: "+
				"the hard RLIMIT_NOFILE is %d (%s; the strategy fdstore needs no number twice)",
			2*n+leastOwn, n, leastOwn, p.Host.HardFiles, raise(2*n+leastOwn))}
	}
	return nil
}
