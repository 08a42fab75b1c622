package planner

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/assign"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
)

// meet waits until the count of a table's tasks is down to value, and takes one
// off.
func (f forker) meet(m *assign.Meeting, value int) {
	f.add(program.OpMeet, m.Count, uint64(value))
}

// share writes the program of a task that has the table of another one.
func (f forker) share() {
	owner := f.task.Owner
	m := f.pl.meets[owner]
	f.about(program.VerbMeet, f.task.SharesFiles.Pos)
	f.meet(m, m.Start)
	if !m.Turns {
		return
	}
	k, n := slices.Index(m.Sharers, f.task), len(m.Sharers)
	helper := assign.SharerHelper(f.pl.plan, k)
	take := m.First - 2*k
	f.meet(m, take)
	f.lenient = true
	f.about(program.VerbHelper, f.task.SharesFiles.Pos)
	f.want(f.call(unix.SYS_FCNTL, uint64(f.store), unix.F_DUPFD_CLOEXEC, 0), int64(helper))
	f.note().Extra = f.pl.extra(plan.Extra{Name: "fcntl(F_DUPFD_CLOEXEC)"})
	f.about(program.VerbMeet, f.task.SharesFiles.Pos)
	f.meet(m, take-1)
	closing := 2*n - 2*k
	f.meet(m, closing)
	f.about(program.VerbHelper, f.task.SharesFiles.Pos)
	f.call(unix.SYS_CLOSE, uint64(helper)).Allow = uint16(unix.EBADF)
	f.about(program.VerbMeet, f.task.SharesFiles.Pos)
	f.lenient = false
	f.meet(m, closing-1)
}

// whileOthersWait lets the owner of a shared table fill it.
func (f forker) whileOthersWait(fill func() error) error {
	m := f.pl.meets[f.task]
	if m == nil {
		return fill()
	}
	f.about(program.VerbMeet, f.task.Pos)
	if !m.Turns {
		f.meet(m, 1)
		return fill()
	}
	n := len(m.Sharers)
	for k := range n {
		f.table.Take(assign.SharerHelper(f.pl.plan, k), plan.TheStore)
	}
	f.meet(m, m.Start)
	f.meet(m, 2*n+2)
	if err := fill(); err != nil {
		return err
	}
	f.about(program.VerbMeet, f.task.Pos)
	f.meet(m, 2*n+1)
	return nil
}
