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

// naive writes what restorers did that ignored what is on a number.
type naive struct {
	gatherer
	service client // if the strategy is that
}

// fill fills the table as such restorers did: each descriptor in the order of the
// description, each open file at whatever number the kernel gives, dup3 over whatever is at
// the target, and at last the helpers closed, whatever is there by then.
//
//	wanted:  0 ─ log   1 ─ jobs.r        the store sits at 0
//	ops:     pull log ─▶ 1   dup3(1, 0)  the store is gone
//	         pull jobs.r                 fails
//	         close(0)                    log is gone, too
//
// The planner's view of the table stays what the kernel's will be, so every
// number is known here, too. What it would not know in a restorer of that kind
// does not guide it.
func (n *naive) fill() error {
	n.lenient = true
	defer func() { n.lenient = false }()
	for _, l := range n.pl.plan.Lent {
		n.table.SetCloexec(l.Number, true)
	}
	n.service.channel = -1
	if n.pl.plan.Options.Strategy == plan.StrategyService && n.pulls() {
		n.service = connect(n.taskWriter)
	}
	first := map[plan.FileEnd]int{} // where each file is since it was installed first
	for i := range n.task.FDs {
		d := &n.task.FDs[i]
		from, again := first[plan.EndOf(d)]
		if !again {
			if from = n.fetch(d); from < 0 {
				continue // the pull fails
			}
		}
		n.put(d, from, !again)
		first[plan.EndOf(d)] = d.FD
	}
	if n.full != nil {
		return n.full
	}
	n.about(program.VerbClose, n.task.Pos)
	for _, helper := range n.helpers(first) {
		n.call(unix.SYS_CLOSE, uint64(helper)).Allow = uint16(unix.EBADF) // a naive restorer ignores it
		n.table.Release(helper)
	}
	return nil
}

// helpers lists the numbers that the task closes in the end.
func (n *naive) helpers(used map[plan.FileEnd]int) []int {
	var numbers []int
	if n.service.channel >= 0 {
		numbers = append(numbers, n.service.channel)
	}
	if n.store >= 0 {
		numbers = append(numbers, n.store)
	}
	for _, l := range n.pl.plan.Lent {
		if _, moved := used[l.FileEnd]; !moved {
			numbers = append(numbers, l.Number)
		}
	}
	return numbers
}

// fetch brings an open file into the table and gives the number where it is, -1
// if that fails.
func (n *naive) fetch(d *tasktree.Descriptor) int {
	fe := plan.EndOf(d)
	switch {
	case !n.pl.stored[fe.File]:
		at, made := n.table.Place(fe)
		if !made { // nor was the other end, and this one with it
			n.make(d)
			at, _ = n.table.Place(fe)
		}
		return at
	case n.pl.plan.Options.Strategy == plan.StrategyInherit:
		i := slices.IndexFunc(n.pl.plan.Lent, func(l plan.Lent) bool { return l.FileEnd == fe })
		return n.pl.plan.Lent[i].Number
	}
	at := n.table.Lowest()
	from, what, ops := n.store, plan.TheStore, 1
	if n.pl.plan.Options.Strategy == plan.StrategyService {
		from, what, ops = n.service.channel, plan.TheChannel, 2
		n.service.popFile(fe, at)
	} else {
		n.pullMessage(from, n.pl.plan.Layout.Place(n.pl.message([]plan.FileEnd{fe}, 0), 1).Word, []plan.FileEnd{fe}, []int{at})
		n.prog.Ops[len(n.prog.Ops)-1].Args[5] = naivePulls
	}
	for i := range ops {
		note := &n.prog.Notes[len(n.prog.Notes)-1-i]
		note.FD, note.Line, note.Col = int32(d.FD), int32(d.Pos.Line), int32(d.Pos.Col)
	}
	if n.table.Holds(from) != what || uint64(at) >= n.pl.plan.Host.HardFiles {
		n.table.Release(at)
		return -1
	}
	return at
}

// put installs a descriptor from a number, and closes that one if it was only
// the way.
func (n *naive) put(d *tasktree.Descriptor, from int, helper bool) {
	n.aboutDescriptor(program.VerbInstall, d)
	what, taken := n.table.At.Get(from)
	if from == d.FD {
		if taken && n.table.Closes(from) != d.Cloexec {
			n.setCloexec(d)
		}
		return
	}
	flag := uint64(0)
	if d.Cloexec {
		flag = unix.O_CLOEXEC
	}
	n.want(n.call(unix.SYS_DUP3, uint64(from), uint64(d.FD), flag), int64(d.FD))
	n.numberHint()
	if taken {
		n.table.Take(d.FD, what)
		n.table.SetCloexec(d.FD, d.Cloexec)
	}
	if helper {
		n.call(unix.SYS_CLOSE, uint64(from)).Allow = uint16(unix.EBADF)
		n.table.Release(from)
	}
}

// pulls reports whether the task gets any open file from the runner.
func (n *naive) pulls() bool {
	return slices.ContainsFunc(n.table.Targets, func(d *tasktree.Descriptor) bool { return n.pl.stored[d.Open.Index] })
}
