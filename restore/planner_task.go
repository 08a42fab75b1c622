package restore

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// taskPlanner writes the program of one task.
//
//	table:  store ─▶ + pulled, made ─▶ installed ─▶ exactly the description
//	         enter      gather          install        clean
//	fork all children ┘ (they start with the store alone)
type taskPlanner struct {
	writer
	task    *tasktree.Task
	pids    []int32
	table   *table
	channel int                    // where the task's own way to a service is
	store   int                    // where the store's descriptor is, -1: the task has none
	targets []*tasktree.Descriptor // ascending
	wanted  map[int]*tasktree.Descriptor
	at      map[fileEnd]int // where each open file is after gather
	cloexec map[int]bool    // numbers in place that have FD_CLOEXEC now
	full    *RefusedError   // a recipe needs a number that there is not
}

func newTaskPlanner(pl *planner, task *tasktree.Task, pids []int32) *taskPlanner {
	sc := &pl.scratch
	sc.reset(len(task.FDs))
	tp := &taskPlanner{
		writer:  writer{pl: pl, prog: program.Program{Ops: sc.ops[:0], Notes: sc.notes[:0]}},
		task:    task,
		targets: pl.plan.sorted(task),
		pids:    pids,
		table:   &sc.table,
		store:   pl.plan.storeFD,
		wanted:  sc.wanted,
		at:      sc.at,
		cloexec: sc.cloexec,
	}
	for i := range task.FDs {
		d := &task.FDs[i]
		tp.wanted[d.FD] = d
	}
	if tp.store >= 0 {
		tp.table.take(tp.store, theStore)
	}
	for _, l := range pl.plan.lent {
		tp.table.take(l.number, l.fileEnd)
	}
	return tp
}

// result gives the program that was written and lets its memory be used again.
func (tp *taskPlanner) result() program.Program {
	sc := &tp.pl.scratch
	sc.ops, sc.notes = tp.prog.Ops, tp.prog.Notes
	return program.Program{Ops: slices.Clone(tp.prog.Ops), Notes: slices.Clone(tp.prog.Notes)}
}

// scratch is what planning a task works with: used again for the next task,
// since most of a large tree's tasks are small and alike.
type scratch struct {
	table   table
	wanted  map[int]*tasktree.Descriptor
	at      map[fileEnd]int
	cloexec map[int]bool
	ops     []program.Op
	notes   []program.Note
	key     []byte
	size    int // descriptors that the maps had room for at most
}

// reset empties the scratch for a task with n descriptors.
func (sc *scratch) reset(n int) {
	const large = 1024 // clearing a map costs as much as its largest size ever
	if sc.wanted == nil || sc.size > large && n < large {
		sc.table.at = make(map[int]fileEnd, n)
		sc.wanted = make(map[int]*tasktree.Descriptor, n)
		sc.at = make(map[fileEnd]int, n)
		sc.cloexec = make(map[int]bool, n)
		sc.size = 0
	}
	clear(sc.table.at)
	clear(sc.wanted)
	clear(sc.at)
	clear(sc.cloexec)
	sc.table.free = 0
	sc.size = max(sc.size, n)
}

// sorted gives a task's descriptors by number.
func (p *Plan) sorted(task *tasktree.Task) []*tasktree.Descriptor {
	all := make([]*tasktree.Descriptor, len(task.FDs))
	for i := range task.FDs {
		all[i] = &task.FDs[i]
	}
	slices.SortFunc(all, func(a, b *tasktree.Descriptor) int { return a.FD - b.FD })
	return all
}

func (tp *taskPlanner) plan() error {
	tp.enter()
	if tp.full != nil {
		return tp.full
	}
	tp.fork()
	if tp.task.Sharer() {
		tp.share()
	} else if err := tp.whileOthersWait(tp.fill); err != nil {
		return err
	}
	tp.finish()
	return nil
}

// fill makes the table what the description says.
func (tp *taskPlanner) fill() error {
	if tp.pl.plan.options.Naive {
		return tp.naive()
	}
	if err := tp.gather(); err != nil {
		return err
	}
	if err := tp.install(); err != nil {
		return err
	}
	tp.clean()
	return nil
}

// enter makes the task's death known and, in the root, undoes what a task must
// not inherit from the runner. What the root does here holds for all.
func (tp *taskPlanner) enter() {
	a := tp.pl.plan.arena
	const robustListHead = 24
	tp.about(program.VerbSetUp, tp.task.Pos)
	rec := a.Record(tp.task.Index)
	tp.add(program.OpBegin, rec, robustListHead, rec+program.RecordBegun)
	if tp.task.Parent != nil {
		return
	}
	tp.add(program.OpShed)
	const ssDisable = 2
	tp.call(unix.SYS_SIGALTSTACK, a.Words([]uint64{0, ssDisable, 0}))
	for sig := range uint64(64) {
		if tp.pl.plan.toDefault()>>sig&1 == 1 {
			tp.call(unix.SYS_RT_SIGACTION, sig+1, a.Words([]uint64{0, 0, 0, 0}), 0, 8)
		}
	}
	if tp.pl.plan.options.Detach {
		tp.call(unix.SYS_SETSID)
	}
	if h := tp.pl.plan.host; h.SoftFiles < h.HardFiles && tp.pl.probe >= h.HardFiles-1 {
		// The Go runtime has raised the soft limit, but not to the hard one: it
		// left one number, see init in syscall/rlimit.go.
		tp.setLimit(h.HardFiles, h.HardFiles)
		tp.about(program.VerbSetUp, tp.task.Pos)
	}
	tp.takeOver()
	tp.mapUser()
	if tp.pl.earlyLimit {
		tp.limit()
	}
}

// takeOver moves what the root takes from the runner to its numbers, the store
// or every open file, and closes the rest of the runner's table.
func (tp *taskPlanner) takeOver() {
	var kept []int
	if tp.store >= 0 {
		op := tp.call(unix.SYS_DUP3, tp.pl.plan.arena.Base+program.HeadStoreFD, uint64(tp.store), unix.O_CLOEXEC)
		op.SetMode(0, program.ModeLoad)
		op.Allow = uint16(unix.EINVAL) // it is there already
		kept = append(kept, tp.store)
	}
	for _, l := range tp.pl.plan.lent {
		tp.call(unix.SYS_DUP3, l.cell, uint64(l.number), unix.O_CLOEXEC).SetMode(0, program.ModeLoad)
		tp.numberHint()
		kept = append(kept, l.number)
	}
	slices.Sort(kept)
	next := 0
	for _, n := range kept {
		if n > next {
			tp.call(unix.SYS_CLOSE_RANGE, uint64(next), uint64(n-1), 0)
		}
		next = n + 1
	}
	const last = 1<<32 - 1
	tp.call(unix.SYS_CLOSE_RANGE, uint64(next), last, 0)
}

// toDefault gives the signals whose action the root must set to the default:
// CLONE_CLEAR_SIGHAND leaves those that are ignored, clone(2) leaves all.
func (p *Plan) toDefault() uint64 {
	const cannot = 1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1)
	if p.host.OldClone {
		return ^uint64(cannot)
	}
	return p.host.Ignored &^ cannot
}

// limit gives the task the caller's RLIMIT_NOFILE back.
func (tp *taskPlanner) limit() {
	tp.setLimit(tp.pl.plan.host.SoftFiles, tp.pl.plan.host.HardFiles)
}

func (tp *taskPlanner) setLimit(soft, hard uint64) {
	tp.about(program.VerbLimit, tp.task.Pos)
	tp.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, tp.pl.plan.arena.Words([]uint64{soft, hard}), 0)
	// Even to the limit that the task has already, see do_prlimit in kernel/sys.c.
	tp.note().Extra = tp.pl.extra(extra{hints: []tasktree.Hint{{
		Errno: int(unix.EPERM),
		Text:  fmt.Sprintf("fs.nr_open has become lower than the hard limit of %d, or a sandbox refuses it; set that lower with ulimit -Hn", hard),
	}}})
}

// forkChild makes one child.
func (tp *taskPlanner) forkChild(child *tasktree.Task) {
	tp.about(program.VerbFork, child.Pos)
	if child.PID.Pos.IsValid() {
		tp.pos = child.PID.Pos
	}
	op := tp.add(program.OpFork, tp.pl.clone(child, tp.pids[child.Index]), uint64(child.Index))
	if pid := tp.pids[child.Index]; pid != 0 {
		tp.want(op, int64(pid))
	}
	if tp.pl.plan.host.OldClone {
		op.Flags |= program.FlagOldClone
	}
	tp.note().Extra = tp.pl.forkHint()
}

// clone gives the address of the clone_args that make a task.
func (pl *planner) clone(task *tasktree.Task, pid int32) uint64 {
	a := pl.plan.arena
	c := program.CloneArgs{
		Flags:  unix.CLONE_CHILD_SETTID,
		Child:  a.Record(task.Index) + program.RecordWord,
		Signal: uint64(unix.SIGCHLD),
		PID:    pid,
	}
	if task.Carried != nil {
		c.Flags |= unix.CLONE_FILES
	}
	if task.Parent != nil {
		c.Flags |= unix.CLONE_PARENT_SETTID
		c.Parent = a.Record(task.Index) + program.RecordPID
	} else {
		c.Flags |= unix.CLONE_PIDFD
		if !pl.plan.host.OldClone {
			c.Flags |= unix.CLONE_CLEAR_SIGHAND
		}
		c.PIDFD = a.Base + program.HeadRootPIDFD
		c.Flags |= cloneNamespaces(pl.plan.tree)
		if c.Flags&unix.CLONE_NEWPID != 0 {
			c.PID = 0 // the kernel gives the first task of a namespace pid 1
		}
	}
	return a.Clone(c)
}

// gather brings every open file of the task into its table: pulled from the
// store or made by itself, at numbers that follow from the kernel's rule of the
// lowest free one. The order of a message is chosen so that as many as possible
// land where they belong.
func (tp *taskPlanner) gather() error {
	if tp.pl.plan.options.Strategy == StrategyInherit {
		tp.gatherInherited()
		return nil
	}
	var pulled []fileEnd
	seen := map[fileEnd]bool{}
	for _, d := range tp.targets {
		fe := endOf(d)
		if tp.pl.stored[fe.file] && !seen[fe] {
			pulled = append(pulled, fe)
			seen[fe] = true
		}
	}
	if len(pulled) > 0 {
		if err := tp.clearStore(); err != nil {
			return err
		}
		if tp.pl.plan.options.Strategy == StrategyService {
			if err := tp.pop(pulled); err != nil {
				return err
			}
		} else {
			tp.pull(pulled)
		}
	}
	made := map[int]bool{}
	for _, d := range tp.targets {
		if i := d.Open.Index; !tp.pl.stored[i] && !made[i] {
			tp.letGo()
			tp.make(d)
			made[i] = true
		}
	}
	if tp.full != nil {
		return tp.full
	}
	return nil
}

// letGo closes the store, from which nothing more is pulled, before the task makes
// files of its own in a table that is nearly full.
func (tp *taskPlanner) letGo() {
	const room = 3 // for a file that is looked at first, and one more
	if tp.store < 0 || tp.table.at[tp.store].file >= 0 || uint64(tp.table.land(room)[room-1]) < tp.pl.plan.host.HardFiles {
		return
	}
	tp.about(program.VerbClose, tp.task.Pos)
	tp.call(unix.SYS_CLOSE, uint64(tp.store))
	tp.table.release(tp.store)
	tp.store = -1
}

func endOf(d *tasktree.Descriptor) fileEnd {
	return fileEnd{int32(d.Open.Index), int32(d.End)}
}

// clearStore moves the store's descriptor, or the channel to the service, off a
// number that the task needs.
func (tp *taskPlanner) clearStore() error {
	if tp.wanted[tp.store] == nil {
		return nil
	}
	to := tp.spare()
	if to < 0 {
		return tp.clearFull()
	}
	what := tp.table.at[tp.store]
	tp.aboutDescriptor(program.VerbMove, tp.wanted[tp.store])
	tp.want(tp.call(unix.SYS_DUP3, uint64(tp.store), uint64(to), unix.O_CLOEXEC), int64(to))
	tp.numberHint()
	tp.call(unix.SYS_CLOSE, uint64(tp.store))
	tp.table.release(tp.store)
	tp.table.take(to, what)
	tp.store = to
	return nil
}

// clearFull is for a table without any free number below the limit. The store
// may then sit on a number whose open file has another number too: a dup3 of
// that one replaces the store at the very end.
func (tp *taskPlanner) clearFull() error {
	numbers := map[fileEnd]int{}
	for _, d := range tp.targets {
		numbers[endOf(d)]++
	}
	here := tp.wanted[tp.store]
	if numbers[endOf(here)] > 1 {
		return nil
	}
	return tp.fullTable(here.Pos, 0)
}

// spare gives the lowest number that is free or holds what this task does not
// need, is not described and is allowed, or -1.
func (tp *taskPlanner) spare() int {
	for n := 0; uint64(n) < tp.pl.plan.host.HardFiles; n++ {
		what, taken := tp.table.at[n]
		if taken && what.file >= 0 {
			at, needed := tp.at[what]
			taken = needed && at == n
		}
		if !taken && tp.wanted[n] == nil {
			return n
		}
	}
	return -1
}

// pull takes the open files out of the store, in as few messages as possible.
//
//	message in the root     store ──▶ files
//	message in a shard      store ──▶ shard ──▶ files, shard closed
//	... of a branch         store ──▶ branch ──▶ shard, branch closed ──▶ files, shard closed
func (tp *taskPlanner) pull(files []fileEnd) {
	for len(files) > 0 {
		n := min(len(files), fdstore.MaxGroup)
		depth := tp.pl.nextDepth()
		// The sockets land before the files, on the lowest free numbers; the
		// last one stays until the files are there.
		way := tp.table.land(depth)
		from := tp.store
		if depth > 0 {
			from = way[depth-1]
			tp.table.take(from, theShard)
		}
		numbers := tp.table.land(n)
		tp.inTable(max(from, numbers[n-1]))
		var order []fileEnd
		order, files = tp.landing(files, numbers)
		place := tp.pl.plan.layout.Place(tp.pl.message(order, depth), n)
		tp.pullSockets(place, way)
		tp.pullMessage(from, place.Word, order, numbers)
		if depth > 0 {
			tp.call(unix.SYS_CLOSE, uint64(from))
			tp.table.release(from)
		}
	}
}

// inTable notes that the task's table has no room for number n.
func (tp *taskPlanner) inTable(n int) {
	if hard := tp.pl.plan.host.HardFiles; uint64(n) >= hard && tp.full == nil {
		tp.full = tp.fullTable(tp.task.Pos, n+1)
	}
}

// landing chooses which of the files come with a message, and in which order:
// those with a target among numbers land on it. It gives the other files back.
func (tp *taskPlanner) landing(files []fileEnd, numbers []int) (order, rest []fileEnd) {
	order = make([]fileEnd, len(numbers))
	waiting := make(map[fileEnd]bool, len(files))
	for _, fe := range files {
		waiting[fe] = true
	}
	var open []int
	for i, n := range numbers {
		d := tp.wanted[n]
		if d == nil || !waiting[endOf(d)] {
			open = append(open, i)
			continue
		}
		order[i] = endOf(d)
		delete(waiting, endOf(d))
	}
	for _, fe := range files {
		switch {
		case !waiting[fe]:
		case len(open) > 0:
			order[open[0]] = fe
			open = open[1:]
		default:
			rest = append(rest, fe)
		}
	}
	return order, rest
}

// pullSockets goes the way to a message. Each socket lands on the next number,
// and the one before is closed.
func (tp *taskPlanner) pullSockets(p fdstore.Place, numbers []int) {
	tp.about(program.VerbPull, tp.task.Pos)
	from := tp.store
	for i, w := range p.Way[:p.Depth] {
		landed := tp.pl.plan.arena.Int32s([]int32{int32(numbers[i])})
		tp.add(program.OpPull, uint64(from), uint64(w), 1, landed, unix.MSG_CMSG_CLOEXEC)
		tp.numberHint()
		if i > 0 {
			tp.call(unix.SYS_CLOSE, uint64(from))
		}
		from = numbers[i]
	}
}

func (tp *taskPlanner) pullMessage(from int, w fdstore.Word, files []fileEnd, numbers []int) {
	flag := uint64(unix.MSG_CMSG_CLOEXEC)
	inPlace, without := 0, 0
	landed := make([]int32, len(numbers))
	for i, n := range numbers {
		landed[i] = int32(n)
		if d := tp.wanted[n]; d != nil && endOf(d) == files[i] {
			inPlace++
			if !d.Cloexec {
				without++
			}
		}
	}
	if 2*without > inPlace {
		flag = 0 // fewer F_SETFD; nothing can exec before the table is finished
	}
	tp.about(program.VerbPull, tp.task.Pos)
	tp.file, tp.end = int(files[0].file), int(files[0].end)
	tp.add(program.OpPull, uint64(from), uint64(w), uint64(len(files)), tp.pl.plan.arena.Int32s(landed), flag)
	tp.numberHint()
	for i, n := range numbers {
		tp.table.take(n, files[i])
		tp.at[files[i]] = n
		tp.cloexec[n] = flag != 0
	}
}

// make lets the task make an open file that only it uses.
func (tp *taskPlanner) make(d *tasktree.Descriptor) {
	f := d.Open
	tp.about(program.VerbMake, f.Pos)
	tp.fd, tp.file = d.FD, f.Index
	m := &taskMaker{taskPlanner: tp, file: f}
	refs := f.Spec.Make(tp.pl.plan.tree, m)
	used := map[int]bool{}
	for _, u := range f.Uses {
		used[u.End] = true
	}
	kept := map[int]bool{}
	for end, ref := range refs {
		if used[end] {
			n := m.numbers[ref]
			fe := fileEnd{int32(f.Index), int32(end)}
			tp.table.take(n, fe)
			tp.at[fe], tp.cloexec[n], kept[n] = n, true, true
		}
	}
	for _, n := range m.numbers {
		if what, taken := tp.table.at[n]; taken && what == helper && !kept[n] {
			tp.drop(n)
		}
	}
}

// drop closes a number that a recipe does not need any more.
func (tp *taskPlanner) drop(n int) {
	tp.call(unix.SYS_CLOSE, uint64(n))
	tp.table.release(n)
}

// finish makes the task ready and says what it does once released.
func (tp *taskPlanner) finish() {
	a, task := tp.pl.plan.arena, tp.task
	if !tp.pl.earlyLimit {
		tp.limit()
	}
	var run execve
	if !task.Holds() {
		run = tp.find()
	}
	if task.Cwd.Value != "" {
		tp.about(program.VerbChdir, task.Cwd.Pos)
		path := tp.pl.plan.tree.Join(task.Cwd.Value)
		tp.call(unix.SYS_CHDIR, a.String(path))
		tp.note().Extra = tp.pl.extra(extra{path: path, hints: tp.pl.rightsHint()})
	}
	if task.Holds() {
		tp.about(program.VerbName, task.Pos)
		name := a.String(task.Name)
		tp.call(unix.SYS_PRCTL, unix.PR_SET_NAME, name, 0, 0, 0)
		tp.add(program.OpName, name, uint64(len(task.Name)))
	}
	tp.about(program.VerbReady, task.Pos)
	tp.add(program.OpReady)
	const setMask, setSize = 2, 8
	tp.call(unix.SYS_RT_SIGPROCMASK, setMask, a.Words([]uint64{0}), 0, setSize)
	if task.Holds() {
		tp.about(program.VerbHold, task.Pos)
		tp.add(program.OpHold, a.Record(task.Index)+program.RecordHolds)
		return
	}
	tp.exec(run)
}
