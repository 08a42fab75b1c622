package runner

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// lend writes the number of an open file of the runner's to the cell that the
// root reads. The root fills the planned numbers one by one, so none of them may
// be one that it has still to read from.
func (r *run) lend(op *program.Op) error {
	s := &r.slots[op.Args[0]]
	if r.lent == nil {
		r.lent = make(map[int]bool, len(r.plan.Lent))
		for _, l := range r.plan.Lent {
			r.lent[l.Number] = true
		}
	}
	if r.lent[s.fd] {
		fd, err := r.dupAside(s.fd)
		if err != nil {
			return err
		}
		if !s.borrowed {
			_ = unix.Close(s.fd)
		}
		*s = slot{fd: fd, open: true}
	}
	binary.NativeEndian.PutUint64(r.arena.Bytes()[op.Args[1]-r.arena.Base:], uint64(s.fd))
	return nil
}

// dupAside gives a descriptor of the same open file at the lowest number that the
// root will not fill. It goes on where it has found the last one: what has become
// free below that since then is a number that the root will fill.
func (r *run) dupAside(fd int) (int, error) {
	for {
		for r.lent[r.aside] {
			r.aside++
		}
		to, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, r.aside)
		if err != nil {
			return -1, err
		}
		r.aside = to + 1
		if !r.lent[to] {
			return to, nil
		}
		_ = unix.Close(to)
	}
}
