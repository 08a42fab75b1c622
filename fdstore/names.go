//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// AddNamed stores 1 to [MaxGroup] open files as one message, as [Store.AddGroup],
// under a name of 1 to [MaxName] bytes UTF-8 that is unique in the store and has
// neither colons nor control characters.
//
// Errors: those of AddGroup, [ErrBadName], [ErrNameTaken], [ErrNoCatalog].
func (s *Store) AddNamed(name string, files ...File) (ID, error) {
	if err := checkName(name); err != nil {
		return 0, fmt.Errorf("fdstore: add: %w", err)
	}
	return s.addGroup(name, files)
}

// Lookup returns the message that was added under a name. It waits for no get and
// no add.
//
// Errors: [ErrClosed], [ErrNotFound], [ErrNoCatalog], [ErrForeign] for a catalog
// that is damaged.
func (s *Store) Lookup(name string) (ID, error) {
	id, err := s.lookup(name)
	if err != nil {
		return 0, fmt.Errorf("fdstore: look up %q: %w", name, err)
	}
	return id, nil
}

func (s *Store) lookup(name string) (ID, error) {
	if err := s.enterCatalog(); err != nil {
		return 0, err
	}
	defer s.leave()
	id, found, _, err := s.catalog.find(name)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, ErrNotFound
	}
	exists, _, err := s.exists(id)
	if err == nil && !exists {
		err = ErrNotFound // it is being added
	}
	return id, err
}

// enterCatalog is enter for those who need the catalog.
func (s *Store) enterCatalog() error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.catalog == nil {
		s.leave()
		return ErrNoCatalog
	}
	return nil
}

// List returns all messages that there are now, by ID.
//
// Errors: [ErrClosed], [ErrNoCatalog], [ErrForeign] for a catalog that is damaged.
func (s *Store) List() ([]Entry, error) {
	var entries []Entry
	for e, err := range s.All() {
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// All yields the messages that there are now, by ID. An error is the last that it
// yields, with an empty Entry. It reads in pieces and keeps nothing.
//
// Errors: those of [Store.List].
func (s *Store) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := s.enterCatalog(); err != nil {
			yield(Entry{}, fmt.Errorf("fdstore: list: %w", err))
			return
		}
		defer s.leave()
		s.catalog.all(s.layout, func(r record, err error) bool {
			if err != nil {
				return yield(Entry{}, fmt.Errorf("fdstore: list: %w", err))
			}
			return yield(Entry{r.id, r.name, r.files}, nil)
		})
	}
}

// CopyTo adds every message of this store to another one, in the same order and
// under the same names. The files are shared by both: the same open file
// descriptions. It stops at the first error; what was copied by then stays.
//
// Errors: those of [Store.List], [Store.GetGroup] and [Store.AddNamed].
func (s *Store) CopyTo(dst *Store) error {
	var fds []int
	for e, err := range s.All() {
		if err == nil {
			fds, err = s.GetFDs(e.ID, fds[:0])
		}
		if err != nil {
			return err
		}
		_, err = dst.add(e.Name, fds)
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		if err != nil {
			return errors.Join(err, fmt.Errorf("fdstore: copy message %d", e.ID))
		}
	}
	return nil
}
