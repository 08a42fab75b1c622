//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// Adopt makes this process the store's writer, which can add and seal. A store has one
// writer at a time. The writer has a lock on the catalog (of the open file, see
// fcntl(2)), which the kernel releases when the process ends for any reason. So a new
// generation of a program can continue the store of the last one, after [Store.Resign]
// there or after its death at any moment. If the last writer had sent a message and not
// counted it, Adopt counts it.
//
// If this process already is the writer, Adopt does nothing.
//
// Errors: [ErrHasWriter] while the writer lives, or if the maker could not lock because
// it had no /proc; [ErrSealed], [ErrNoCatalog], [ErrClosed]; [ErrForeign] or
// [ErrContended] if another holder has changed the queues.
func (s *Store) Adopt() error {
	if err := s.adopt(); err != nil {
		return fmt.Errorf("fdstore: adopt the store: %w", err)
	}
	return nil
}

func (s *Store) adopt() error {
	if err := s.enterCatalog(); err != nil {
		return err
	}
	defer s.leave()
	s.adopting.Lock()
	defer s.adopting.Unlock()
	if s.writer.Load() != nil {
		return nil
	}
	if s.Sealed() {
		return ErrSealed
	}
	w := &writer{root: socket{fd: s.fd}}
	var err error
	if w.lock, err = s.catalog.lock(); err != nil {
		return err
	}
	if err := s.takeOver(w); err != nil {
		w.close()
		return err
	}
	s.writer.Store(w)
	return nil
}

// Resign ends this process's role as the writer, so that another process can
// [Store.Adopt] the store. This process can still get files. If it is not the writer,
// Resign does nothing.
//
// Errors: [ErrClosed]; [ErrNoCatalog] for a store that cannot be adopted.
func (s *Store) Resign() error {
	err := s.enterCatalog()
	if err == nil {
		defer s.leave()
		s.adopting.Lock()
		defer s.adopting.Unlock()
		if w := s.writer.Load(); w != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.resigned = true
			err = s.refresh()
			s.writer.Store(nil)
			w.close()
		}
	}
	if err != nil {
		return fmt.Errorf("fdstore: resign: %w", err)
	}
	return nil
}

// takeOver completes the last add of the last writer. At whatever point that was killed,
// the catalog counts all messages but possibly the last, and the queues have as many
// messages as counted, or one more:
//
//	nested sockets          made, or not yet
//	message number count    not sent yet, or sent. If sent, its record is written,
//	                        its name is linked or not, and it must be counted
func (s *Store) takeOver(w *writer) error {
	count, err := s.catalog.begin(s.layout)
	if err != nil {
		return err
	}
	w.count.Store(int64(count))
	p := s.layout.Place(ID(count), 0)
	to, err := s.openLast(w, p)
	if err != nil {
		return err
	}
	if to != nil {
		there, err := reaches(to, p.Word)
		if err == nil && there {
			err = s.countLast(w, to, p.Word)
		}
		if err != nil {
			return err
		}
	}
	return s.holdFull(w)
}

// openLast opens the nested sockets of the next message, and returns the socket that
// it belongs into, nil if that was not made yet.
func (s *Store) openLast(w *writer, p wire.Place) (*socket, error) {
	to := &w.root
	for i, word := range p.Way[:p.Depth] {
		there, err := reaches(to, word)
		if err != nil || !there {
			return nil, err
		}
		fd, err := s.pullSocket(to.fd, word)
		if err != nil {
			return nil, err
		}
		w.open[i] = socket{fd: fd, word: word}
		to = &w.open[i]
	}
	return to, nil
}

// reaches reports whether a queue already has the next message. It is an error if the
// queue lacks an earlier message, or has a later one.
func reaches(to *socket, next wire.Word) (bool, error) {
	size, err := queued(to.fd)
	if err != nil {
		return false, err
	}
	one := messageMemory()
	if one == 0 {
		return false, fmt.Errorf("cannot measure the size of a message: %w", ErrNoDescriptors)
	}
	to.sent = size / one
	to.excess = size - to.sent*one
	switch to.sent {
	case int(next.Position()):
		return false, nil
	case int(next.Position()) + 1:
		to.last = next
		return true, nil
	}
	return false, fmt.Errorf("%w: a queue has %d messages, not %d: another holder has changed it", ErrForeign, to.sent, next.Position())
}

// countLast counts the message that was sent last, if it matches its record.
func (s *Store) countLast(w *writer, in *socket, word wire.Word) error {
	id := ID(w.count.Load())
	r, err := s.catalog.next(id)
	if err != nil {
		return err
	}
	word = wire.NewWord(wire.Files, r.files, word.Queue(), word.Position())
	if err := s.checkMessage(in.fd, word); err != nil {
		return fmt.Errorf("message %d: %w", id, err)
	}
	var link int64
	if r.name != "" {
		var found bool
		var other ID
		if other, found, link, err = s.catalog.find(r.name); err != nil {
			return err
		}
		if found && other != id {
			return fmt.Errorf("message %d: %w: %q", id, ErrNameTaken, r.name)
		}
		if found {
			link = 0 // it is linked already
		}
	}
	if err := s.catalog.commit(r, link); err != nil {
		return err
	}
	w.count.Store(int64(id) + 1)
	return nil
}

// holdFull opens the full sockets of the store, as many as mostHeld allows, if the
// kernel collects garbage in close: see collectsInClose.
func (s *Store) holdFull(w *writer) error {
	count := int(w.count.Load())
	if s.layout == Flat || !collectsInClose() {
		return nil
	}
	branch := w.open[0]
	for id := int(s.layout); id+wire.ShardSize <= count && len(w.held)+1 < mostHeld(); id += wire.ShardSize {
		p := s.layout.Place(ID(id), 0)
		from, shard := s.fd, p.Way[p.Depth-1]
		if p.Depth > 1 {
			if branch.word != p.Way[0] {
				fd, err := s.holdSocket(w, s.fd, p.Way[0])
				if err != nil {
					return err
				}
				branch = socket{fd: fd, word: p.Way[0]}
			}
			from = branch.fd
		}
		if shard == w.open[p.Depth-1].word {
			continue
		}
		if _, err := s.holdSocket(w, from, shard); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) holdSocket(w *writer, from int, word wire.Word) (int, error) {
	if word == w.open[0].word {
		return w.open[0].fd, nil
	}
	fd, err := s.pullSocket(from, word)
	if err == nil {
		w.held = append(w.held, fd)
	}
	return fd, err
}

// lockFirst makes the maker the writer. All processes that have the store share the open
// file of the catalog that the header carries, so the maker opens the catalog once more,
// which requires /proc. Without /proc it writes into the catalog that there can be no
// other writer.
func (c *catalog) lockFirst(w *writer) error {
	var err error
	w.lock, err = c.lock()
	if errors.Is(err, unix.ENOENT) {
		w.lock = -1
		return c.writeAt([]byte{1}, catalogOnly)
	}
	return err
}

// lock opens the catalog once more and locks it. The caller closes fd, which releases
// the lock.
func (c *catalog) lock() (fd int, err error) {
	var only [1]byte
	if err := c.readAt(only[:], catalogOnly); err != nil {
		return -1, err
	}
	if only[0] != 0 {
		return -1, fmt.Errorf("%w: it had no /proc and could not lock, so it is unknown whether it still runs", ErrHasWriter)
	}
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Open("/proc/self/fd/"+strconv.Itoa(c.fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("reopen its catalog: %w", os.NewSyscallError("open", err))
	}
	err = ignoringEINTR(func() error {
		return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Len: 1})
	})
	if err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			err = ErrHasWriter
		} else {
			err = fmt.Errorf("lock its catalog: %w", os.NewSyscallError("fcntl F_OFD_SETLK", err))
		}
		return -1, err
	}
	return fd, nil
}
