package prepare

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
)

// lend writes the number of an open file of the runner's to the cell that the
// root reads. The root fills the planned numbers one by one, so none of them may
// be one that it has still to read from.
func (f *Files) lend(op *program.Op) error {
	s := &f.slots[op.Args[0]]
	if f.aside.fills(s.fd) {
		if err := f.moveAside(s, &f.aside); err != nil {
			return err
		}
	}
	binary.NativeEndian.PutUint64(f.arena.Bytes()[op.Args[1]-f.arena.Base:], uint64(s.fd))
	return nil
}

// moveAside gives an open file a number that will not be filled.
func (f *Files) moveAside(s *slot, to *lender) error {
	fd, err := to.dup(s.fd)
	if err != nil {
		return err
	}
	if !s.borrowed {
		_ = unix.Close(s.fd)
	}
	*s = slot{fd: fd, open: true}
	return nil
}

// lender finds numbers that the root, or a bench, will not fill.
type lender struct {
	lent    []plan.Lent
	numbers map[int]bool // those of lent, nil: not asked for yet
	next    int          // no number below is free and not one of lent
}

// fills reports whether the root fills a number with an open file.
func (l *lender) fills(fd int) bool {
	if l.numbers == nil {
		l.numbers = make(map[int]bool, len(l.lent))
		for _, lent := range l.lent {
			l.numbers[lent.Number] = true
		}
	}
	return l.numbers[fd]
}

// dup gives a descriptor of the same open file at the lowest number that the
// root will not fill. It goes on where it has found the last one: what has become
// free below that since then is a number that the root will fill.
func (l *lender) dup(fd int) (int, error) {
	for {
		for l.fills(l.next) {
			l.next++
		}
		to, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, l.next)
		if err != nil {
			return -1, err
		}
		l.next = to + 1
		if !l.fills(to) {
			return to, nil
		}
		_ = unix.Close(to)
	}
}
