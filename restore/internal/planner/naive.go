package planner

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// naivePulls bounds the tries of a pull from what may not be the store any more:
// two seconds, with the pauses between them.
const naivePulls = 256

// naive fills the table as restorers did that did not look: each descriptor in
// the order of the description, each open file to whatever number the kernel
// gives, dup3 over whatever is at the target, and the helpers closed in the end,
// whatever is there by then.
//
//	wanted:  0 ─ log   1 ─ jobs.r        the store sits at 0
//	ops:     pull log ─▶ 1   dup3(1, 0)  the store is gone
//	         pull jobs.r                 fails
//	         close(0)                    log is gone, too
//
// The planner's view of the table stays what the kernel's will be, so every
// number is known here, too. What it would not know in a restorer of that kind
// does not guide it.
func (tp *taskPlanner) naive() error {
	tp.lenient = true
	defer func() { tp.lenient = false }()
	for _, l := range tp.pl.plan.Lent {
		tp.cloexec.Set(l.Number, true)
	}
	tp.channel = -1
	if tp.pl.plan.Options.Strategy == plan.StrategyService && tp.pulls() {
		tp.openChannel()
	}
	first := map[plan.FileEnd]int{} // where each file is since it was installed first
	for i := range tp.task.FDs {
		d := &tp.task.FDs[i]
		from, again := first[plan.EndOf(d)]
		if !again {
			if from = tp.fetch(d); from < 0 {
				continue // the pull fails
			}
		}
		tp.put(d, from, !again)
		first[plan.EndOf(d)] = d.FD
	}
	if tp.full != nil {
		return tp.full
	}
	tp.about(program.VerbClose, tp.task.Pos)
	for _, n := range tp.naiveHelpers(first) {
		tp.call(unix.SYS_CLOSE, uint64(n)).Allow = uint16(unix.EBADF) // a restorer that does not look does not mind
		tp.table.Release(n)
	}
	return nil
}

// naiveHelpers lists the numbers that the task closes in the end.
func (tp *taskPlanner) naiveHelpers(used map[plan.FileEnd]int) []int {
	var numbers []int
	if tp.channel >= 0 {
		numbers = append(numbers, tp.channel)
	}
	if tp.store >= 0 {
		numbers = append(numbers, tp.store)
	}
	for _, l := range tp.pl.plan.Lent {
		if _, moved := used[l.FileEnd]; !moved {
			numbers = append(numbers, l.Number)
		}
	}
	return numbers
}

// fetch brings an open file into the table and gives the number where it is, -1
// if that fails.
func (tp *taskPlanner) fetch(d *tasktree.Descriptor) int {
	fe := plan.EndOf(d)
	switch {
	case !tp.pl.stored[fe.File]:
		if n, made := tp.at.Get(fe); made { // the other end was made with this one
			return n
		}
		tp.make(d)
		return tp.place(fe)
	case tp.pl.plan.Options.Strategy == plan.StrategyInherit:
		i := slices.IndexFunc(tp.pl.plan.Lent, func(l plan.Lent) bool { return l.FileEnd == fe })
		return tp.pl.plan.Lent[i].Number
	}
	n := tp.table.Lowest()
	from, what, ops := tp.store, plan.TheStore, 1
	if tp.pl.plan.Options.Strategy == plan.StrategyService {
		from, what, ops = tp.channel, plan.TheChannel, 2
		tp.popFile(fe, n)
	} else {
		tp.pullMessage(from, tp.pl.plan.Layout.Place(tp.pl.message([]plan.FileEnd{fe}, 0), 1).Word, []plan.FileEnd{fe}, []int{n})
		tp.prog.Ops[len(tp.prog.Ops)-1].Args[5] = naivePulls
	}
	for i := range ops {
		note := &tp.prog.Notes[len(tp.prog.Notes)-1-i]
		note.FD, note.Line, note.Col = int32(d.FD), int32(d.Pos.Line), int32(d.Pos.Col)
	}
	if tp.table.Holds(from) != what || uint64(n) >= tp.pl.plan.Host.HardFiles {
		tp.table.Release(n)
		return -1
	}
	return n
}

// put installs a descriptor from a number, and closes that one if it was only
// the way.
func (tp *taskPlanner) put(d *tasktree.Descriptor, from int, helper bool) {
	tp.aboutDescriptor(program.VerbInstall, d)
	what, taken := tp.table.At.Get(from)
	if from == d.FD {
		if taken && tp.closes(from) != d.Cloexec {
			tp.setCloexec(d)
		}
		return
	}
	flag := uint64(0)
	if d.Cloexec {
		flag = unix.O_CLOEXEC
	}
	tp.want(tp.call(unix.SYS_DUP3, uint64(from), uint64(d.FD), flag), int64(d.FD))
	tp.numberHint()
	if taken {
		tp.table.Take(d.FD, what)
		tp.cloexec.Set(d.FD, d.Cloexec)
	}
	if helper {
		tp.call(unix.SYS_CLOSE, uint64(from)).Allow = uint16(unix.EBADF)
		tp.table.Release(from)
	}
}

// pulls reports whether the task gets any open file from the runner.
func (tp *taskPlanner) pulls() bool {
	return slices.ContainsFunc(tp.targets, func(d *tasktree.Descriptor) bool { return tp.pl.stored[d.Open.Index] })
}
