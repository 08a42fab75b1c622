//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"regrow/fdstore/internal/borrow"
)

// Add stores one open file as a message of its own and returns its ID. It
// borrows f.
//
// Errors: [ErrClosed], [ErrSealed], [ErrFull], [ErrInFlight], [ErrCannotSend];
// [os.ErrClosed], [os.ErrInvalid] (nil) or EBADF for a file that is not open. If the
// kernel refuses one of the files, a [*FileError] tells which one. After these errors
// the store is unchanged.
//
// [ErrForeign] or [ErrContended] mean that another holder has changed the queue, so
// that no process could get the message. From then on every add returns this error.
func (s *Store) Add(f File) (ID, error) { return s.AddGroup(f) }

// AddGroup stores 1 to [MaxGroup] open files as one message and returns its ID.
// [Store.GetGroup] returns them in the same order. A file may occur several times. It
// borrows the files.
//
// Errors: as [Store.Add], and [ErrTooMany].
func (s *Store) AddGroup(files ...File) (ID, error) { return s.addGroup("", files) }

func (s *Store) addGroup(name string, files []File) (ID, error) {
	if err := checkCount(len(files)); err != nil {
		return 0, err
	}
	var id ID
	err := borrow.Files(files, func(fds []int) (err error) {
		id, err = s.add(name, fds)
		return err
	})
	if e, own := errors.AsType[*borrow.Error](err); own {
		err = fmt.Errorf("fdstore: add: %w", e)
	}
	return id, err
}

// AddFDs is [Store.AddGroup] for bare descriptors, which it borrows: the caller
// keeps them open until it returns.
func (s *Store) AddFDs(fds []int) (ID, error) { return s.add("", fds) }

func (s *Store) add(name string, fds []int) (ID, error) {
	if err := checkCount(len(fds)); err != nil {
		return 0, err
	}
	for i, fd := range fds {
		// UnixRights would cut a larger number to 32 bits.
		if fd < 0 || fd > math.MaxInt32 {
			return 0, fmt.Errorf("fdstore: add: %w", &FileError{i, len(fds), fd, unix.EBADF})
		}
	}
	id, err := s.addNext(name, fds)
	if err != nil {
		return 0, fmt.Errorf("fdstore: add message %d: %w", id, err)
	}
	return id, nil
}

func checkCount(n int) error {
	if n < 1 || n > MaxGroup {
		return fmt.Errorf("fdstore: add: %w, not %d", ErrTooMany, n)
	}
	return nil
}

// addNext sends the next message and returns its ID, also with an error.
func (s *Store) addNext(name string, fds []int) (ID, error) {
	w := s.writer.Load()
	if w == nil {
		return 0, ErrReadOnly
	}
	if err := s.enter(); err != nil {
		return ID(w.count.Load()), err
	}
	defer s.leave()
	w.mu.Lock()
	defer w.mu.Unlock()
	id := ID(w.count.Load())
	link, err := s.mayAdd(w, id, name)
	if err != nil {
		return id, err
	}
	place := s.layout.Place(id, len(fds))
	to, err := s.openWay(w, place)
	if err != nil {
		return id, err
	}
	r := record{id: id, files: len(fds), name: name}
	if s.catalog != nil {
		if err := s.catalog.write(r); err != nil {
			return id, err
		}
	}
	if err := s.sendTo(to, place.Word, fds); err != nil {
		return id, err
	}
	// The message is in its queue and cannot be removed.
	if w.broken = s.checkSent(to, place.Word); w.broken == nil && s.catalog != nil {
		w.broken = s.catalog.commit(r, link)
	}
	if w.broken == nil {
		w.count.Store(int64(id) + 1)
	}
	return id, w.broken
}

// mayAdd checks that a message may be added, and returns where the catalog must link
// its name.
func (s *Store) mayAdd(w *writer, id ID, name string) (link int64, err error) {
	if name != "" {
		if s.catalog == nil {
			return 0, ErrNoCatalog
		}
		var taken bool
		if _, taken, link, err = s.catalog.find(name); err != nil {
			return 0, err
		}
		if taken {
			return 0, fmt.Errorf("%w: %q", ErrNameTaken, name)
		}
	}
	switch {
	case w.resigned:
		return 0, ErrReadOnly
	case w.sealed:
		return 0, ErrSealed
	case w.broken != nil:
		return 0, w.broken
	case uint64(id) >= uint64(s.layout.Limit()):
		return 0, fmt.Errorf("%w: this layout has space for %d messages", ErrFull, s.layout.Limit())
	}
	return link, w.checkMost(int(id))
}
