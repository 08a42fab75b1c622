package planner

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"regrow/fdstore"
	"regrow/restore/internal/landing"
	"regrow/restore/internal/lookup"
	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// planner carries what NewPlan needs while it works.
type planner struct {
	plan         *plan.Plan
	stored       []bool // by file index: comes through the store
	earlyLimit   bool   // the root sets RLIMIT_NOFILE for all, before it forks
	exact        bool   // a task has an exact pid
	callerFDs    map[string]int
	meets        map[*tasktree.Task]*meeting // by owner of the table
	messageIDs   map[string]fdstore.ID       // by content
	extraIDs     map[string]int32
	numberHint   int32 // the extra of ops whose number could be too high, 0: not yet made
	forkHints    int32 // the same for forks
	serviceHints int32 // the same for requests to a service
	scratch      scratch
	programs     lookup.Programs
	probe        uint64 // highest number that a task can need, see checkNumbers
}

// inherited finds the caller's descriptors that the tree asks for.
func (pl *planner) inherited() error {
	p := pl.plan
	pl.callerFDs = map[string]int{"stdin": 0, "stdout": 1, "stderr": 2}
	keys := []string{"stdin", "stdout", "stderr"}
	for key, fd := range p.Options.Inherit {
		pl.callerFDs[key] = fd
		keys = append(keys, key)
	}
	var problems []tasktree.Problem
	for _, f := range p.Tree.Files {
		key := tasktree.CallerKey(f.Spec)
		if key == "" || len(f.Uses) == 0 {
			continue
		}
		path := "files." + f.Name + ".key"
		if _, ok := pl.callerFDs[key]; !ok {
			problems = append(problems, tasktree.Problem{Pos: f.Pos, Path: path, Msg: fmt.Sprintf(
				"no descriptor of the caller goes by %q%s; give one with --inherit-fd %s=N", key, tasktree.DidYouMean(key, keys), key)})
		}
		if fd, ok := pl.callerFDs[key]; ok && fd == 0 && p.Options.WithoutStdin {
			problems = append(problems, tasktree.Problem{Pos: f.Pos, Path: path, Msg: "stdin cannot be inherited: the description was read from it"})
		}
	}
	if len(problems) > 0 {
		return &tasktree.InvalidError{Source: p.Tree.Source, Problems: tasktree.SortProblems(problems)}
	}
	return nil
}

// place decides which open files the runner makes and puts in the store: the shared
// ones; those that a task has so often that pulling them again is cheaper than dup3
// (none with ends: as long as regrow has an end, the other end does not learn that the
// task has closed it); those that only the runner can make; all files of one path if
// one of them creates it, since then their order counts; and simply all if the tasks
// have other rights.
func (pl *planner) place() {
	t := pl.plan.Tree
	pl.stored = make([]bool, len(t.Files))
	needed, referred := neededFiles(t)
	byPath := map[string][]int{}
	creates := map[string]bool{}
	for i, f := range t.Files {
		if !needed[i] {
			continue
		}
		traits := f.Spec.Traits(t)
		// Opened in a user namespace, a file would be opened with other rights.
		pl.stored[i] = traits.ByRunner || f.Shared() || len(f.Refers) > 0 || len(f.Uses) == 0 || referred[i] || t.HasNamespace(tasktree.NamespaceUser) || pl.plan.Options.Strategy == plan.StrategyInherit ||
			repeats(pl.plan.Options) && len(f.Uses) >= landing.FewRepeated && len(f.Spec.Ends()) == 0
		if traits.Path != "" {
			clean := traits.Path
			if !filepath.IsAbs(clean) {
				clean = pl.plan.Host.Cwd + "/" + clean
			}
			clean = filepath.Clean(clean)
			byPath[clean] = append(byPath[clean], i)
			creates[clean] = creates[clean] || traits.Creates
		}
	}
	for path := range creates {
		if !creates[path] {
			continue
		}
		for _, i := range byPath[path] {
			pl.stored[i] = true
		}
	}
	pl.plan.Layout = fdstore.Flat
	if pl.mostMessages() > FlatMessages && pl.plan.Options.Strategy == plan.StrategyFDStore && !pl.plan.Options.Naive {
		pl.plan.Layout = fdstore.Nested
	}
	if l := pl.plan.Options.Layout; l != 0 && pl.plan.Options.Strategy == plan.StrategyFDStore && !pl.plan.Options.Naive {
		pl.plan.Layout = l
	}
	if !slices.Contains(pl.stored, true) {
		return
	}
	switch o := pl.plan.Options; {
	case o.Strategy == plan.StrategyInherit:
		pl.lentNumbers()
	case o.ServiceFD != nil:
		pl.plan.StoreFD = *o.ServiceFD
	case o.Naive:
		pl.plan.StoreFD = 0
	default:
		pl.plan.StoreFD = pl.storeNumber()
	}
}

// neededFiles finds the open files that a task has, or that one of these is made out
// of; and those among them that another one names.
func neededFiles(t *tasktree.Tree) (needed, referred []bool) {
	needed, referred = make([]bool, len(t.Files)), make([]bool, len(t.Files))
	var need func(f *tasktree.OpenFile)
	need = func(f *tasktree.OpenFile) {
		if needed[f.Index] {
			return
		}
		needed[f.Index] = true
		for _, to := range f.Refers {
			referred[to.Index] = true
			need(to)
		}
	}
	for _, f := range t.Files {
		if len(f.Uses) > 0 {
			need(f)
		}
	}
	return needed, referred
}

// mostMessages gives a number of messages that the store will not exceed, or one
// above FlatMessages. Tasks with the same open files at the same numbers take the
// same messages.
func (pl *planner) mostMessages() int {
	most := 0
	seen := map[string]bool{}
	for _, task := range pl.plan.Tree.Tasks() {
		n, key := 0, pl.scratch.key[:0]
		for _, d := range task.FDs {
			file := uint32(math.MaxUint32) // its own: only the number counts
			if pl.stored[d.Open.Index] {
				n++
				file = uint32(d.Open.Index)
			}
			key = binary.NativeEndian.AppendUint32(key, uint32(d.FD))
			key = binary.NativeEndian.AppendUint32(key, file)
			key = append(key, byte(d.End))
		}
		pl.scratch.key = key
		if n == 0 || seen[string(key)] {
			continue
		}
		seen[string(key)] = true
		if most += (n + fdstore.MaxGroup - 1) / fdstore.MaxGroup; most > FlatMessages {
			break
		}
	}
	return most
}

// storeNumber finds the number where the store is in the way of the fewest
// tasks, the lowest of them: a high one would cost every task a larger table.
func (pl *planner) storeNumber() int {
	const low = 256
	var users [low]int
	for _, task := range pl.plan.Tree.Tasks() {
		for _, d := range task.FDs {
			if d.FD < low {
				users[d.FD]++
			}
		}
	}
	best := 0
	for n := 1; n < low && uint64(n) < pl.plan.Host.HardFiles; n++ {
		if users[n] < users[best] {
			best = n
		}
	}
	return best
}

// checkNumbers refuses numbers that no process may have here, and decides when
// the tasks get the caller's limit back.
func (pl *planner) checkNumbers() error {
	const helpers = 8 // the store, a temporary one, what a recipe has open besides
	p := pl.plan
	for _, task := range p.Tree.Tasks() {
		for _, d := range task.FDs {
			if uint64(d.FD) >= p.Host.HardFiles {
				return &plan.RefusedError{Source: p.Tree.Source, Pos: d.Pos, Msg: plan.TooHigh(task, &d, p.Host.HardFiles)}
			}
			pl.probe = max(pl.probe, uint64(d.FD))
		}
		pl.probe = max(pl.probe, uint64(2*len(task.FDs)+helpers))
	}
	if p.StoreFD >= 0 && uint64(p.StoreFD) >= p.Host.HardFiles {
		return &plan.RefusedError{Source: p.Tree.Source, Pos: p.Tree.Root.Pos, Msg: fmt.Sprintf(
			"the store cannot sit at fd %d: the hard RLIMIT_NOFILE is %d, so the highest number is %d", p.StoreFD, p.Host.HardFiles, p.Host.HardFiles-1)}
	}
	pl.probe = max(pl.probe, uint64(max(p.StoreFD, 0)))
	if p.Options.Naive { // a helper of each sharer
		pl.probe = max(pl.probe, uint64(len(p.Tree.Tasks())+helpers))
	}
	if err := pl.checkLent(); err != nil {
		return err
	}
	pl.earlyLimit = pl.probe < p.Host.SoftFiles
	return nil
}

// exactPIDs gives the pid that each task is made with, 0 if the kernel chooses.
//
// In a new pid namespace one exact pid makes all of them exact: a number that
// the kernel chose for one task could be the one that another needs.
func (pl *planner) exactPIDs() []int32 {
	t := pl.plan.Tree
	pids := make([]int32, len(t.Tasks()))
	taken := map[int32]bool{}
	exact := false
	for i, task := range t.Tasks() {
		pids[i] = int32(task.PID.Value)
		taken[pids[i]] = true
		exact = exact || i > 0 && pids[i] != 0
	}
	if !t.HasNamespace(tasktree.NamespacePID) {
		return pids
	}
	pids[0] = 1
	taken[1] = true
	if !exact {
		return pids
	}
	next := int32(2)
	for i := range pids {
		for pids[i] == 0 {
			if !taken[next] {
				pids[i] = next
			}
			next++
		}
	}
	return pids
}

// nextDepth gives how many sockets there are on the way to the next message.
func (pl *planner) nextDepth() int {
	return pl.plan.Layout.Place(fdstore.ID(len(pl.plan.Messages)), 1).Depth
}

// message gives the ID of a message with exactly these open files, at this depth:
// their order was chosen for the numbers that the way leaves free.
func (pl *planner) message(files []plan.FileEnd, depth int) fdstore.ID {
	key := append(pl.scratch.key[:0], byte(depth))
	for _, fe := range files {
		key = binary.NativeEndian.AppendUint32(key, uint32(fe.File))
		key = binary.NativeEndian.AppendUint32(key, uint32(fe.End))
	}
	pl.scratch.key = key
	id, ok := pl.messageIDs[string(key)]
	if !ok {
		id = fdstore.ID(len(pl.plan.Messages))
		pl.messageIDs[string(key)] = id
		pl.plan.Messages = append(pl.plan.Messages, append([]plan.FileEnd(nil), files...))
		pl.plan.Words[wordOf(pl.plan, id, len(files))] = id
	}
	return id
}

// extra gives the index of an extra.
func (pl *planner) extra(e plan.Extra) int32 {
	key := pl.scratch.key[:0]
	for _, s := range []string{e.Name, e.Short, e.Path} {
		key = append(append(key, s...), 0)
	}
	for _, h := range e.Hints {
		key = append(append(strconv.AppendInt(key, int64(h.Errno), 10), h.Text...), 0)
	}
	for _, u := range e.Uses {
		for _, n := range [...]int{u.Arg, int(u.What.File), int(u.What.End)} {
			key = append(strconv.AppendInt(key, int64(n), 10), ',')
		}
	}
	pl.scratch.key = key
	id, ok := pl.extraIDs[string(key)]
	if !ok {
		id = int32(len(pl.plan.Extras))
		pl.extraIDs[string(key)] = id
		pl.plan.Extras = append(pl.plan.Extras, e)
	}
	return id
}
