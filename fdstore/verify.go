//go:build linux

package fdstore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// Verify checks every message of the store and every record of its catalog, and
// returns an error for the first one that is not as it was added. nil means that every
// message can be got. Verify receives no stored files, so it closes none and releases no
// POSIX record lock. It takes about as long as a get of each message.
//
// Errors: [ErrClosed], [ErrForeign], [ErrContended], [ErrNoDescriptors] for nested
// sockets.
func (s *Store) Verify() error {
	if err := s.enter(); err != nil {
		return fmt.Errorf("fdstore: verify: %w", err)
	}
	defer s.leave()
	if err := s.verify(); err != nil {
		return fmt.Errorf("fdstore: verify: %w", err)
	}
	return nil
}

func (s *Store) verify() error {
	if err := s.checkMessage(s.fd, s.layout.HeaderWord(0)); err != nil {
		return fmt.Errorf("the header: %w", err)
	}
	if s.catalog == nil {
		return s.verifyQueues()
	}
	var way way
	defer way.close()
	var bad error
	s.catalog.all(s.layout, func(r record, err error) bool {
		if err == nil {
			err = s.verifyMessage(&way, r.id, r.files)
		}
		if err == nil && r.name != "" {
			err = s.verifyName(r)
		}
		bad = err
		return err == nil
	})
	return bad
}

// verifyQueues checks the messages of a store without a catalog, up to the first one
// that does not exist.
func (s *Store) verifyQueues() error {
	var way way
	defer way.close()
	for id := ID(0); uint64(id) < uint64(s.layout.Limit()); id++ {
		exists, certain, err := s.exists(id)
		if err != nil || !exists {
			return err
		}
		err = s.verifyMessage(&way, id, 0)
		if errors.Is(err, errRemoved) && !certain {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) verifyName(r record) error {
	id, found, _, err := s.catalog.find(r.name)
	if err == nil && (!found || id != r.id) {
		err = fmt.Errorf("%w: the index of its catalog lacks the name %q of message %d", ErrForeign, r.name, r.id)
	}
	return err
}

// verifyMessage checks that message id carries this number of files, 0: any number.
func (s *Store) verifyMessage(on *way, id ID, files int) error {
	p := s.layout.Place(id, files)
	from, err := on.to(s, p)
	if err == nil {
		err = s.checkMessage(from, p.Word)
	}
	if err != nil {
		return fmt.Errorf("message %d: %w", id, err)
	}
	return nil
}

// way has the nested sockets that were pulled last.
type way [2]socket

func (w *way) close() {
	for i := range w {
		w[i].close()
	}
}

// to returns the socket whose queue has a message.
func (w *way) to(s *Store, p wire.Place) (from int, err error) {
	from = s.fd
	for i, word := range p.Way[:p.Depth] {
		if w[i].word != word {
			for j := i; j < len(w); j++ {
				w[j].close()
			}
			fd, err := s.pullSocket(from, word)
			if err != nil {
				return -1, err
			}
			w[i] = socket{fd: fd, word: word}
		}
		from = w[i].fd
	}
	return from, nil
}

// pullSocket pulls a nested socket. The caller closes it.
func (s *Store) pullSocket(from int, word wire.Word) (int, error) {
	s.pulling.Lock()
	defer s.pulling.Unlock()
	if err := s.fetchFrom(from, word); err != nil {
		return -1, err
	}
	if len(s.received.files) != 1 {
		s.received.close()
		return -1, errWrongCount
	}
	if _, err := unix.GetsockoptInt(s.received.files[0], unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		s.received.close()
		return -1, fmt.Errorf("%w: it carries a file instead of a socket", ErrForeign)
	}
	return s.received.files[0], nil
}
