package planner

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// install moves every open file from where it landed to its numbers. That is a
// parallel copy: a number may be written only when what is on it is not needed
// there any more, and a cycle is broken with one spare number.
//
//	at:      3 ─ log   4 ─ jobs.r      wanted:  3 ─ jobs.r   4 ─ log
//	ops:     dup3(3, 5)   dup3(4, 3)   dup3(5, 4)            5 is closed by clean
func (tp *taskPlanner) install() error {
	uses := &tp.pl.scratch.uses // moves still to come from where the file is
	uses.Reset()
	var pending []*tasktree.Descriptor
	for _, d := range tp.targets {
		if fe := plan.EndOf(d); tp.table.Holds(d.FD) != fe {
			uses.Set(fe, uses.Value(fe)+1)
			pending = append(pending, d)
		}
	}
	for len(pending) > 0 {
		var blocked []*tasktree.Descriptor
		for _, d := range pending {
			if tp.blocked(d.FD) {
				blocked = append(blocked, d)
				continue
			}
			tp.move(d)
			uses.Set(plan.EndOf(d), uses.Value(plan.EndOf(d))-1)
		}
		if len(blocked) == len(pending) {
			if err := tp.breakCycle(blocked[0]); err != nil {
				return err
			}
		}
		pending = blocked
	}
	for _, d := range tp.targets {
		if tp.closes(d.FD) != d.Cloexec {
			tp.aboutDescriptor(program.VerbInstall, d)
			tp.setCloexec(d)
		}
	}
	return nil
}

// setCloexec gives an installed descriptor its flag.
func (tp *taskPlanner) setCloexec(d *tasktree.Descriptor) {
	flag := uint64(0)
	if d.Cloexec {
		flag = unix.FD_CLOEXEC
	}
	tp.call(unix.SYS_FCNTL, uint64(d.FD), unix.F_SETFD, flag)
	tp.note().Extra = tp.pl.extra(plan.Extra{Name: "fcntl(F_SETFD)"})
	tp.cloexec.Set(d.FD, d.Cloexec)
}

// blocked reports whether number n holds an open file that others still need
// from there. The store is never needed any more.
func (tp *taskPlanner) blocked(n int) bool {
	what := tp.table.Holds(n)
	return what.File >= 0 && tp.place(what) == n && tp.pl.scratch.uses.Value(what) > 0
}

// move installs one descriptor. The open file is from then on taken from there,
// since a number that is right is never written again.
func (tp *taskPlanner) move(d *tasktree.Descriptor) {
	fe := plan.EndOf(d)
	flag := uint64(0)
	if d.Cloexec {
		flag = unix.O_CLOEXEC
	}
	tp.aboutDescriptor(program.VerbInstall, d)
	tp.want(tp.call(unix.SYS_DUP3, uint64(tp.place(fe)), uint64(d.FD), flag), int64(d.FD))
	tp.numberHint()
	tp.table.Take(d.FD, fe)
	tp.at.Set(fe, d.FD)
	tp.cloexec.Set(d.FD, d.Cloexec)
}

// breakCycle moves what stands on a number to a spare one.
func (tp *taskPlanner) breakCycle(d *tasktree.Descriptor) error {
	what := tp.table.Holds(d.FD)
	to := tp.spare()
	if to < 0 && tp.store >= 0 && tp.table.Holds(tp.store).File < 0 && tp.wants(tp.store) == nil {
		to = tp.store
	}
	if to < 0 {
		return tp.fullTable(d.Pos, 0)
	}
	tp.aboutDescriptor(program.VerbMove, d)
	tp.want(tp.call(unix.SYS_DUP3, uint64(d.FD), uint64(to), unix.O_CLOEXEC), int64(to))
	tp.numberHint()
	tp.table.Take(to, what)
	tp.at.Set(what, to)
	return nil
}

// clean closes whatever is not described, in as few calls as possible: a range
// may cover free numbers, but no described one.
func (tp *taskPlanner) clean() {
	var extra []int
	for n := range tp.table.At.All() {
		if tp.wants(n) == nil {
			extra = append(extra, n)
		}
	}
	tp.about(program.VerbClose, tp.task.Pos)
	for len(extra) > 0 {
		next, _ := slices.BinarySearchFunc(tp.targets, extra[0], func(d *tasktree.Descriptor, n int) int { return d.FD - n })
		end := 1
		for end < len(extra) && (next == len(tp.targets) || extra[end] < tp.targets[next].FD) {
			end++
		}
		if end == 1 {
			tp.call(unix.SYS_CLOSE, uint64(extra[0]))
		} else {
			tp.call(unix.SYS_CLOSE_RANGE, uint64(extra[0]), uint64(extra[end-1]), 0)
		}
		for _, n := range extra[:end] {
			tp.table.Release(n)
		}
		extra = extra[end:]
	}
}
