package limits

import (
	"fmt"

	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// raise returns the remedy for a limit.
func raise(limit int) string {
	return fmt.Sprintf("raise it to %d with ulimit -Hn, which needs CAP_SYS_RESOURCE", limit)
}

// Numbers refuses numbers beyond the limit. It returns the highest number that a task can
// need.
func Numbers(p *plan.Plan) (highest uint64, err error) {
	const helpers = 8 // the store, a spare number, descriptors of a recipe
	for _, task := range p.Tree.Tasks() {
		for _, d := range task.FDs {
			if uint64(d.FD) >= p.Host.HardFiles {
				return 0, &plan.RefusedError{Source: p.Tree.Source, Pos: d.Pos, Msg: plan.TooHigh(task, &d, p.Host.HardFiles)}
			}
			highest = max(highest, uint64(d.FD))
		}
		highest = max(highest, uint64(2*len(task.FDs)+helpers))
	}
	if p.StoreFD >= 0 && uint64(p.StoreFD) >= p.Host.HardFiles {
		return 0, &plan.RefusedError{Source: p.Tree.Source, Pos: p.Tree.Root.Pos, Msg: fmt.Sprintf(
			"the store cannot be placed at fd %d: the hard RLIMIT_NOFILE is %d, so the highest number is %d", p.StoreFD, p.Host.HardFiles, p.Host.HardFiles-1)}
	}
	highest = max(highest, uint64(max(p.StoreFD, 0)))
	if p.Options.Naive { // one helper for each sharer
		highest = max(highest, uint64(len(p.Tree.Tasks())+helpers))
	}
	ofLent, err := lent(p)
	if err != nil {
		return 0, err
	}
	return max(highest, ofLent), nil
}

// lent refuses a tree if the root cannot have all open files at once. It returns the highest
// number that this takes.
func lent(p *plan.Plan) (highest uint64, err error) {
	for _, l := range p.Lent {
		if uint64(l.Number) >= p.Host.HardFiles {
			return 0, &plan.RefusedError{Source: p.Tree.Source, Pos: p.Tree.Root.Pos, Msg: fmt.Sprintf(
				"the strategy inherit gives the root all %d open files of the tree at once, up to number %d, and the hard RLIMIT_NOFILE is %d (%s; the strategy fdstore gives each task only its own)",
				len(p.Lent), l.Number, p.Host.HardFiles, raise(l.Number+1))}
		}
		highest = max(highest, uint64(l.Number+len(p.Lent)))
	}
	if n := len(p.Lent); n > 0 && uint64(2*n+leastOwn) > p.Host.HardFiles { // see lend in package prepare
		return 0, &plan.RefusedError{Source: p.Tree.Source, Pos: p.Tree.Root.Pos, Msg: fmt.Sprintf(
			"the strategy inherit needs %d descriptors in the process that restores, two for each of the %d open files of the tree and %d for itself: "+
				"the hard RLIMIT_NOFILE is %d (%s; the strategy fdstore needs only one for each)",
			2*n+leastOwn, n, leastOwn, p.Host.HardFiles, raise(2*n+leastOwn))}
	}
	return highest, nil
}

// leastOwn is the least number of descriptors of the process that restores, apart from the
// tree's files: the standard descriptors, which Go opens if they are closed, the store, the
// root's pidfd.
const leastOwn = 5

// Runner refuses a tree with more open files than the process that restores can have at
// once. Other descriptors that it has inherited are not known here; if they are too
// many, the op that finds no free number reports that.
func Runner(p *plan.Plan) error {
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
			"the hard RLIMIT_NOFILE is %d (%s; a file that only one task uses, and that is not created, is opened in that task)",
		files, own, files+own, p.Host.HardFiles, raise(files+own))}
}

// FullTable refuses a task whose descriptors leave no room for the helpers of its restore.
// inAll is the number of descriptors that it would need.
func FullTable(p *plan.Plan, task *tasktree.Task, pos tasktree.Pos, inAll int) *plan.RefusedError {
	wanted := len(task.FDs)
	inAll = max(inAll, wanted+1)
	what := map[plan.Strategy]string{
		plan.StrategyFDStore: "for the store, or to make a file",
		plan.StrategyService: "for the channel to the service, or to make a file",
		plan.StrategyInherit: "to move files past each other",
	}[p.Options.Strategy]
	return &plan.RefusedError{Source: p.Tree.Source, Pos: pos, Msg: fmt.Sprintf(
		"task %q needs %d numbers, and the strategy %s needs %d more (%s), %d in all: the hard RLIMIT_NOFILE is %d (%s; "+
			"or remove a descriptor, or let two of them use one open file)",
		task.Name, wanted, p.Options.Strategy, inAll-wanted, what, inAll, p.Host.HardFiles, raise(inAll))}
}

// OverInFlight reports whether a plan's store has more files in flight than all
// processes of an ordinary user may have together: RLIMIT_NOFILE, which the Go runtime
// has raised to the hard limit (unix(7), ETOOMANYREFS).
func OverInFlight(p *plan.Plan) bool { return uint64(p.InFlight()) > p.Host.HardFiles }
