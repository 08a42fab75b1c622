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

// Adopt makes this process the store's writer: from then on it adds and seals. A
// store has one writer at a time, who holds a lock on the catalog (of the open
// file, see fcntl(2)) that the kernel takes back when the process ends, however it
// ends. So a new generation of a program goes on with the store of the last one,
// after [Store.Resign] there, or after its death at any moment: a message that was
// sent and not counted yet is counted.
//
// The store of a process that is the writer already stays as it is.
//
// Errors: [ErrHasWriter] while the writer lives, or if it could not lock because it
// had no /proc; [ErrSealed] if there is nothing left to write; [ErrNoCatalog],
// [ErrClosed]; [ErrForeign] or [ErrContended] if another holder has changed the queues.
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

// Resign ends the adding in this process, which gets on as before, so that another
// one can [Store.Adopt] the store. In a process that is not the writer it does
// nothing.
//
// Errors: [ErrClosed]; [ErrNoCatalog] for a store that nobody can adopt.
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

// takeOver finds out how far the last writer came. Whatever it was doing when it was
// killed, the catalog counts all messages but the last, and the queues are as long
// as that says:
//
//	sockets on the way      made, or not yet
//	message number count    not yet, or sent: then its record is written, and is
//	                        linked or not, and all that is left is to count it
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

// openLast opens the sockets on the way to the next message, and returns the last
// one, nil where it was not made yet.
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

// reaches reports whether a queue has the message that its writer would send next,
// and demands that it has all before that, and none behind.
func reaches(to *socket, next wire.Word) (bool, error) {
	size, err := queued(to.fd)
	if err != nil {
		return false, err
	}
	one := messageMemory()
	if one == 0 {
		return false, fmt.Errorf("how large a message is cannot be found out now: %w", ErrNoDescriptors)
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

// countLast makes the message count that was sent last, if it is what its record
// says.
func (s *Store) countLast(w *writer, in *socket, word wire.Word) error {
	id := ID(w.count.Load())
	r, err := s.catalog.next(id)
	if err != nil {
		return err
	}
	word = wire.NewWord(wire.Files, r.files, word.Queue(), word.Position())
	if err := s.look(in.fd, word); err != nil {
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
			link = 0 // it is there
		}
	}
	if err := s.catalog.commit(r, link); err != nil {
		return err
	}
	w.count.Store(int64(id) + 1)
	return nil
}

// holdFull opens the full sockets of the store, where the kernel wants them open: see
// collectsInClose. What does not fit stays as it is.
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

// lockFirst makes the maker the writer. Whoever is given the store shares the open
// file of the catalog that the header carries, so the maker opens it once more, which
// needs /proc; where there is none the catalog says that there can be no other writer.
func (c *catalog) lockFirst(w *writer) error {
	var err error
	w.lock, err = c.lock()
	if errors.Is(err, unix.ENOENT) {
		w.lock = -1
		return c.writeAt([]byte{1}, catalogOnly)
	}
	return err
}

// lock opens the catalog once more and locks it. The caller closes what it returns,
// and so gives the lock back.
func (c *catalog) lock() (fd int, err error) {
	var only [1]byte
	if err := c.readAt(only[:], catalogOnly); err != nil {
		return -1, err
	}
	if only[0] != 0 {
		return -1, fmt.Errorf("%w: it had no /proc, so nobody can tell whether it lives", ErrHasWriter)
	}
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Open("/proc/self/fd/"+strconv.Itoa(c.fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("open its catalog once more: %w", os.NewSyscallError("open", err))
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
