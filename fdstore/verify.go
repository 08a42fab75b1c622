//go:build linux

package fdstore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// Verify looks at every message of the store, and at every record of its catalog,
// and says what is not as the maker has added it: nil means that each message can
// be got. It receives no files, so no descriptor and no lock of this process is
// touched. It takes about as long as as many gets.
//
// Errors: [ErrClosed], [ErrForeign], [ErrContended], [ErrNoDescriptors] for the
// sockets on the way.
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
	if err := s.look(s.fd, s.layout.HeaderWord(0)); err != nil {
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

// verifyQueues looks at the messages that there are where nothing counts them.
func (s *Store) verifyQueues() error {
	var way way
	defer way.close()
	for id := ID(0); uint64(id) < uint64(s.layout.Limit()); id++ {
		exists, certain, err := s.exists(id)
		if err != nil || !exists {
			return err
		}
		err = s.verifyMessage(&way, id, 0)
		if errors.Is(err, errTaken) && !certain {
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
		err = fmt.Errorf("%w: its catalog does not find the name %q of message %d", ErrForeign, r.name, r.id)
	}
	return err
}

// verifyMessage looks at message id of so many files, 0: any number.
func (s *Store) verifyMessage(on *way, id ID, files int) error {
	p := s.layout.Place(id, files)
	from, err := on.to(s, p)
	if err == nil {
		err = s.look(from, p.Word)
	}
	if err != nil {
		return fmt.Errorf("message %d: %w", id, err)
	}
	return nil
}

// way is the sockets that were pulled last.
type way [2]socket

func (w *way) close() {
	for i := range w {
		w[i].close()
	}
}

// to returns the socket in which a message lies.
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

// pullSocket pulls a socket on the way. The caller closes it.
func (s *Store) pullSocket(from int, word wire.Word) (int, error) {
	s.pulling.Lock()
	defer s.pulling.Unlock()
	if err := s.fetchFrom(from, word); err != nil {
		return -1, err
	}
	if len(s.came.files) != 1 {
		s.came.close()
		return -1, errWrongCount
	}
	if _, err := unix.GetsockoptInt(s.came.files[0], unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		s.came.close()
		return -1, fmt.Errorf("%w: a file where a socket must be", ErrForeign)
	}
	return s.came.files[0], nil
}
