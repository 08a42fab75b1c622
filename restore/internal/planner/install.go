package planner

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/limits"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// installer writes how the open files of a task get from where they landed to their
// numbers.
type installer struct{ *taskWriter }

// install moves every open file from where it landed to its numbers. That is a
// parallel copy: a number may be written only when what is on it is not needed
// there any more, and a cycle is broken with one spare number.
//
//	at:      3 ─ log   4 ─ jobs.r      wanted:  3 ─ jobs.r   4 ─ log
//	ops:     dup3(3, 5)   dup3(4, 3)   dup3(5, 4)            5 is closed by clean
func (i installer) install() error {
	uses := &i.pl.scratch.uses // moves still to come from where the file is
	uses.Reset()
	var pending []*tasktree.Descriptor
	for _, d := range i.table.Targets {
		if fe := plan.EndOf(d); i.table.Holds(d.FD) != fe {
			uses.Set(fe, uses.Value(fe)+1)
			pending = append(pending, d)
		}
	}
	for len(pending) > 0 {
		var blocked []*tasktree.Descriptor
		for _, d := range pending {
			if i.blocked(d.FD) {
				blocked = append(blocked, d)
				continue
			}
			i.move(d)
			uses.Set(plan.EndOf(d), uses.Value(plan.EndOf(d))-1)
		}
		if len(blocked) == len(pending) {
			if err := i.breakCycle(blocked[0]); err != nil {
				return err
			}
		}
		pending = blocked
	}
	for _, d := range i.table.Targets {
		if i.table.Closes(d.FD) != d.Cloexec {
			i.aboutDescriptor(program.VerbInstall, d)
			i.setCloexec(d)
		}
	}
	return nil
}

// blocked reports whether number n holds an open file that others still need
// from there. The store is never needed any more.
func (i installer) blocked(n int) bool {
	what := i.table.Holds(n)
	if what.File < 0 {
		return false
	}
	at, _ := i.table.Place(what)
	return at == n && i.pl.scratch.uses.Value(what) > 0
}

// move installs one descriptor. The open file is from then on taken from there,
// since a number that is right is never written again.
func (i installer) move(d *tasktree.Descriptor) {
	fe := plan.EndOf(d)
	flag := uint64(0)
	if d.Cloexec {
		flag = unix.O_CLOEXEC
	}
	at, _ := i.table.Place(fe)
	i.aboutDescriptor(program.VerbInstall, d)
	i.want(i.call(unix.SYS_DUP3, uint64(at), uint64(d.FD), flag), int64(d.FD))
	i.numberHint()
	i.table.Put(d.FD, fe, d.Cloexec)
}

// breakCycle moves what stands on a number to a spare one.
func (i installer) breakCycle(d *tasktree.Descriptor) error {
	what := i.table.Holds(d.FD)
	to := i.table.Spare()
	if to < 0 && i.store >= 0 && i.table.Holds(i.store).File < 0 && i.table.Wants(i.store) == nil {
		to = i.store
	}
	if to < 0 {
		return limits.FullTable(i.pl.plan, i.task, d.Pos, 0)
	}
	i.aboutDescriptor(program.VerbMove, d)
	i.want(i.call(unix.SYS_DUP3, uint64(d.FD), uint64(to), unix.O_CLOEXEC), int64(to))
	i.numberHint()
	i.table.Take(to, what)
	i.table.SetPlace(what, to)
	return nil
}

// clean closes whatever is not described, in as few calls as possible: a range
// may cover free numbers, but no described one.
func (i installer) clean() {
	extra := i.table.Extra()
	i.about(program.VerbClose, i.task.Pos)
	for len(extra) > 0 {
		next, _ := slices.BinarySearchFunc(i.table.Targets, extra[0], func(d *tasktree.Descriptor, n int) int { return d.FD - n })
		end := 1
		for end < len(extra) && (next == len(i.table.Targets) || extra[end] < i.table.Targets[next].FD) {
			end++
		}
		if end == 1 {
			i.call(unix.SYS_CLOSE, uint64(extra[0]))
		} else {
			i.call(unix.SYS_CLOSE_RANGE, uint64(extra[0]), uint64(extra[end-1]), 0)
		}
		for _, n := range extra[:end] {
			i.table.Release(n)
		}
		extra = extra[end:]
	}
}
