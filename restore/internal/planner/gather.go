package planner

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/fdstore/wire"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/table"
	"regrow/tasktree"
)

// gather brings every open file of the task into its table: pulled from the
// store or made by itself, at numbers that follow from the kernel's rule of the
// lowest free one. The order of a message is chosen so that as many as possible
// land where they belong.
func (tp *taskPlanner) gather() error {
	if tp.pl.plan.Options.Strategy == plan.StrategyInherit {
		tp.gatherInherited()
		return nil
	}
	pulled := tp.pl.scratch.pulled[:0]
	seen := &tp.pl.scratch.marked
	seen.Reset()
	for _, d := range tp.targets {
		fe := plan.EndOf(d)
		if tp.pl.stored[fe.File] && !seen.Has(fe) {
			pulled = append(pulled, fe)
			seen.Set(fe, true)
		}
	}
	tp.pl.scratch.pulled = pulled
	if len(pulled) > 0 {
		if err := tp.clearStore(); err != nil {
			return err
		}
		if tp.pl.plan.Options.Strategy == plan.StrategyService {
			if err := tp.pop(pulled); err != nil {
				return err
			}
		} else {
			tp.pull(pulled)
		}
	}
	seen.Reset() // pulling needs it, too
	for _, d := range tp.targets {
		file := plan.FileEnd{File: int32(d.Open.Index)}
		if !tp.pl.stored[file.File] && !seen.Has(file) {
			tp.letGo()
			tp.make(d)
			seen.Set(file, true)
		}
	}
	if tp.full != nil {
		return tp.full
	}
	return nil
}

// clearStore moves the store's descriptor, or the channel to the service, off a
// number that the task needs.
func (tp *taskPlanner) clearStore() error {
	if tp.wants(tp.store) == nil {
		return nil
	}
	to := tp.spare()
	if to < 0 {
		return tp.clearFull()
	}
	what := tp.table.Holds(tp.store)
	tp.aboutDescriptor(program.VerbMove, tp.wants(tp.store))
	tp.want(tp.call(unix.SYS_DUP3, uint64(tp.store), uint64(to), unix.O_CLOEXEC), int64(to))
	tp.numberHint()
	tp.call(unix.SYS_CLOSE, uint64(tp.store))
	tp.table.Release(tp.store)
	tp.table.Take(to, what)
	tp.store = to
	return nil
}

// clearFull is for a table without any free number below the limit. The store
// may then sit on a number whose open file has another number too: a dup3 of
// that one replaces the store at the very end.
func (tp *taskPlanner) clearFull() error {
	numbers := map[plan.FileEnd]int{}
	for _, d := range tp.targets {
		numbers[plan.EndOf(d)]++
	}
	here := tp.wants(tp.store)
	if numbers[plan.EndOf(here)] > 1 {
		return nil
	}
	return tp.fullTable(here.Pos, 0)
}

// spare gives the lowest number that is free or holds what this task does not
// need, is not described and is allowed, or -1.
func (tp *taskPlanner) spare() int {
	for n := 0; uint64(n) < tp.pl.plan.Host.HardFiles; n++ {
		what, taken := tp.table.At.Get(n)
		if taken && what.File >= 0 {
			at, needed := tp.at.Get(what)
			taken = needed && at == n
		}
		if !taken && tp.wants(n) == nil {
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
func (tp *taskPlanner) pull(files []plan.FileEnd) {
	for len(files) > 0 {
		way := tp.way()
		var order []plan.FileEnd
		var numbers []int
		order, numbers, files = tp.landNext(files)
		tp.takeMessage(way, order, numbers)
	}
	if bringsAgain(tp.pl.plan.Options) {
		tp.pullAgain()
	}
}

// way gives where the sockets on the way to the next message land: before its files,
// on the lowest free numbers. The last one stays until the files are there. The next
// call uses the memory.
func (tp *taskPlanner) way() []int {
	way := tp.table.Land(tp.pl.scratch.way, tp.pl.nextDepth())
	tp.pl.scratch.way = way
	if n := len(way); n > 0 {
		tp.table.Take(way[n-1], plan.TheShard)
	}
	return way
}

// landNext chooses what the next message brings, and where that lands. It gives the
// files back that do not come with it. The next call uses the memory of order and
// numbers.
func (tp *taskPlanner) landNext(files []plan.FileEnd) (order []plan.FileEnd, numbers []int, rest []plan.FileEnd) {
	if bringsAgain(tp.pl.plan.Options) {
		return tp.landingAgain(files)
	}
	numbers = tp.table.Land(tp.pl.scratch.numbers, min(len(files), fdstore.MaxGroup))
	tp.pl.scratch.numbers = numbers
	order, rest = tp.landing(files, numbers)
	return order, numbers, rest
}

// takeMessage goes a way to the next message and takes that.
func (tp *taskPlanner) takeMessage(way []int, order []plan.FileEnd, numbers []int) {
	depth, from := len(way), tp.store
	if depth > 0 {
		from = way[depth-1]
	}
	tp.inTable(max(from, numbers[len(numbers)-1]))
	place := tp.pl.plan.Layout.Place(tp.pl.message(order, depth), len(order))
	tp.pullSockets(place, way)
	tp.pullMessage(from, place.Word, order, numbers)
	if depth > 0 {
		tp.call(unix.SYS_CLOSE, uint64(from))
		tp.table.Release(from)
	}
}

// inTable notes that the task's table has no room for number n.
func (tp *taskPlanner) inTable(n int) {
	if hard := tp.pl.plan.Host.HardFiles; uint64(n) >= hard && tp.full == nil {
		tp.full = tp.fullTable(tp.task.Pos, n+1)
	}
}

// landing chooses which of the files come with a message, and in which order:
// those with a target among numbers land on it. It gives the other files back. The
// next call uses the memory of order.
func (tp *taskPlanner) landing(files []plan.FileEnd, numbers []int) (order, rest []plan.FileEnd) {
	sc := &tp.pl.scratch
	order = slices.Grow(sc.order[:0], len(numbers))[:len(numbers)]
	waiting := tp.waiting(files)
	open := sc.open[:0]
	for i, n := range numbers {
		if d := tp.wants(n); d != nil && waiting.Has(plan.EndOf(d)) {
			order[i] = plan.EndOf(d)
			waiting.Remove(plan.EndOf(d))
			continue
		}
		open = append(open, i)
	}
	sc.order, sc.open = order, open
	return order, fillOpen(order, open, files, waiting)
}

// waiting marks the files that have no place in a message yet. The next call uses
// its memory.
func (tp *taskPlanner) waiting(files []plan.FileEnd) *table.ByFile[bool] {
	waiting := &tp.pl.scratch.marked
	waiting.Reset()
	for _, fe := range files {
		waiting.Set(fe, true)
	}
	return waiting
}

// fillOpen puts files that still wait where a message has places for any, and gives
// the others back.
func fillOpen(order []plan.FileEnd, open []int, files []plan.FileEnd, waiting *table.ByFile[bool]) (rest []plan.FileEnd) {
	for _, fe := range files {
		switch {
		case !waiting.Has(fe):
		case len(open) > 0:
			order[open[0]] = fe
			open = open[1:]
		default:
			rest = append(rest, fe)
		}
	}
	return rest
}

// pullSockets goes the way to a message. Each socket lands on the next number,
// and the one before is closed.
func (tp *taskPlanner) pullSockets(p wire.Place, numbers []int) {
	tp.about(program.VerbPull, tp.task.Pos)
	from := tp.store
	for i, w := range p.Way[:p.Depth] {
		landed := tp.pl.plan.Arena.Int32s([]int32{int32(numbers[i])})
		tp.add(program.OpPull, uint64(from), uint64(w), 1, landed, unix.MSG_CMSG_CLOEXEC)
		tp.numberHint()
		if i > 0 {
			tp.call(unix.SYS_CLOSE, uint64(from))
		}
		from = numbers[i]
	}
}

func (tp *taskPlanner) pullMessage(from int, w wire.Word, files []plan.FileEnd, numbers []int) {
	flag := uint64(unix.MSG_CMSG_CLOEXEC)
	inPlace, without := 0, 0
	landed := tp.pl.scratch.landed[:0]
	for i, n := range numbers {
		landed = append(landed, int32(n))
		if d := tp.wants(n); d != nil && plan.EndOf(d) == files[i] {
			inPlace++
			if !d.Cloexec {
				without++
			}
		}
	}
	tp.pl.scratch.landed = landed
	if 2*without > inPlace {
		flag = 0 // fewer F_SETFD; nothing can exec before the table is finished
	}
	tp.about(program.VerbPull, tp.task.Pos)
	tp.file, tp.end = int(files[0].File), int(files[0].End)
	tp.add(program.OpPull, uint64(from), uint64(w), uint64(len(files)), tp.pl.plan.Arena.Int32s(landed), flag)
	tp.numberHint()
	for i, n := range numbers {
		tp.table.Take(n, files[i])
		tp.cloexec.Set(n, flag != 0)
		// A number that is right stays as it is, so the file is taken from there.
		if d := tp.wants(n); d != nil && plan.EndOf(d) == files[i] || !tp.at.Has(files[i]) {
			tp.at.Set(files[i], n)
		}
	}
}

// make lets the task make an open file that only it uses.
func (tp *taskPlanner) make(d *tasktree.Descriptor) {
	f := d.Open
	tp.about(program.VerbMake, f.Pos)
	tp.fd, tp.file = d.FD, f.Index
	m := &taskMaker{taskPlanner: tp, file: f}
	refs := f.Spec.Make(tp.pl.plan.Tree, m)
	m.own = refs
	if filled, ok := f.Spec.(tasktree.Filled); ok {
		filled.Fill(tp.pl.plan.Tree, m)
	}
	if shaped, ok := f.Spec.(tasktree.Shaped); ok {
		shaped.Shape(tp.pl.plan.Tree, m)
	}
	used := map[int]bool{}
	for _, u := range f.Uses {
		used[u.End] = true
	}
	kept := map[int]bool{}
	for end, ref := range refs {
		if used[end] {
			n := m.numbers[ref]
			fe := plan.FileEnd{File: int32(f.Index), End: int32(end)}
			tp.table.Take(n, fe)
			tp.at.Set(fe, n)
			tp.cloexec.Set(n, true)
			kept[n] = true
		}
	}
	for _, n := range m.numbers {
		if tp.table.Holds(n) == plan.Helper && !kept[n] {
			tp.drop(n)
		}
	}
}

// drop closes a number that a recipe does not need any more.
func (tp *taskPlanner) drop(n int) {
	tp.call(unix.SYS_CLOSE, uint64(n))
	tp.table.Release(n)
}
