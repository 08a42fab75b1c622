package fdstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// pull appends the descriptors of message id to dst; the caller closes them.
// single refuses messages of more than one file.
func (s *Store) pull(id ID, dst []int, single bool) ([]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.checkID(id, single)
	if err == nil {
		err = s.fetch(s.layout.Place(id, n))
	}
	if err == nil && single && len(s.came.files) > 1 {
		err = fmt.Errorf("%w: %d", ErrGroup, len(s.came.files))
		s.came.close()
	}
	if err != nil {
		return dst, fmt.Errorf("fdstore: get message %d: %w", id, err)
	}
	return append(dst, s.came.files...), nil
}

// fetch leaves the files of a message in s.came, through the sockets on its way.
// A table that is full may be full of sockets that are kept only for speed.
func (s *Store) fetch(p wire.Place) error {
	err := s.fetchOnWay(p)
	if errors.Is(err, ErrNoDescriptors) && s.kept.drop() {
		err = s.fetchOnWay(p)
	}
	return err
}

func (s *Store) fetchOnWay(p wire.Place) error {
	from := s.fd
	for i, w := range p.Way[:p.Depth] {
		next := s.kept.find(w)
		if s.open[i].word == w { // the maker has it still
			next = s.open[i].fd
		}
		if next < 0 {
			if err := s.fetchFrom(from, w); err != nil {
				return fmt.Errorf("socket %d of %d on the way: %w", i+1, p.Depth, err)
			}
			next = s.came.files[0]
			s.kept.keep(w, next)
		}
		from = next
	}
	return s.fetchFrom(from, p.Word)
}

// fetchFrom pulls a message from one socket, as often as it takes.
func (s *Store) fetchFrom(from int, w wire.Word) error {
	beyond := 0
	for try := 1; ; try++ {
		err := s.tryPull(from, w)
		if errors.Is(err, errBeyond) {
			beyond++
		}
		if err == nil || !errors.Is(err, ErrContended) && !errors.Is(err, ErrForeign) {
			return err
		}
		if try == wire.MaxTries && beyond == try && w.Files() == 0 {
			return ErrNotFound // nobody else was there, and nothing says that it must exist
		}
		if try == wire.MaxTries {
			return fmt.Errorf("%d tries: %w", try, err)
		}
		if try%wire.EagerTries == 0 {
			time.Sleep(rand.N(wire.MaxWait)) //nolint:forbidigo // backoff: nothing tells when others leave the offset alone
		}
	}
}

// checkID returns how many files a message has, or 0 if that cannot be known.
func (s *Store) checkID(id ID, single bool) (files int, err error) {
	if s.fd < 0 {
		return 0, ErrClosed
	}
	if !s.maker && uint64(id) >= uint64(len(s.catalog.records)) {
		err := s.refresh()
		switch {
		case errors.Is(err, ErrNoCatalog) && uint64(id) < uint64(s.layout.Limit()):
			return 0, nil
		case err != nil && !errors.Is(err, ErrNoCatalog):
			return 0, err
		}
	}
	if uint64(id) >= uint64(len(s.catalog.records)) {
		return 0, fmt.Errorf("%w: the store has %d", ErrNotFound, len(s.catalog.records))
	}
	files = int(s.catalog.records[id].files)
	if single && files > 1 {
		return 0, fmt.Errorf("%w: %d", ErrGroup, files)
	}
	return files, nil
}

// What a try meets if another process has moved the peek offset, or worse.
// They are made once: a try must cost little.
var (
	errBeyond      = fmt.Errorf("%w: the offset was beyond the queue: %w", ErrContended, os.NewSyscallError("recvmsg", unix.EAGAIN))
	errSomeoneElse = fmt.Errorf("%w: the offset was that of another message", ErrContended)
	errWrongCount  = fmt.Errorf("%w: the number of its files is not what was added", ErrForeign)
)

// tryPull peeks once. Without error s.came.files are the files of the message,
// else nothing that was received is left open. Preconditions: s.mu is held.
func (s *Store) tryPull(from int, w wire.Word) error {
	if err := setOffset(from, w); err != nil {
		return err
	}
	n, flags, err := s.peek(from)
	if err != nil {
		return err
	}
	err = s.check(w, n, flags)
	if err != nil {
		s.came.close()
	}
	return err
}

func setOffset(fd int, w wire.Word) error {
	return os.NewSyscallError("setsockopt SO_PEEK_OFF", setsockopt(fd, unix.SO_PEEK_OFF, int(w.Offset())))
}

// peek receives n bytes of data into s.data and all descriptors that come with
// them into s.came. Others may have moved the offset meanwhile.
func (s *Store) peek(from int) (n, flags int, err error) {
	oobn := 0
	err = ignoringEINTR(func() (err error) {
		n, oobn, flags, err = recvmsg(from, s.data[:], s.oob[:], unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if errors.Is(err, unix.EAGAIN) {
		return 0, 0, errBeyond
	}
	if err != nil {
		return 0, 0, os.NewSyscallError("recvmsg", err)
	}
	s.came.parse(s.oob[:oobn])
	s.came.closeStrays()
	return n, flags, nil
}

// check compares what peek received with what was asked for. MSG_CTRUNC comes after
// the payload: somebody else's group may be too large for a table in which
// ours has room.
func (s *Store) check(w wire.Word, n, flags int) error {
	p, whole := wire.ParsePayload(s.data[:n])
	switch {
	case !whole, flags&unix.MSG_TRUNC != 0, p.Number != s.number:
		return ErrForeign
	case p.Word.Where() != w.Where():
		return errSomeoneElse
	case flags&unix.MSG_CTRUNC != 0:
		return fmt.Errorf("%w: %d of %d fit, the soft RLIMIT_NOFILE is %s",
			ErrNoDescriptors, len(s.came.files), p.Word.Files(), softNoFile())
	case w.Files() > 0 && p.Word != w, len(s.came.files) != p.Word.Files():
		return errWrongCount
	}
	return nil
}
