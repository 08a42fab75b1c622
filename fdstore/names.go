//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// AddNamed stores 1 to [MaxGroup] open files as one message, like [Store.AddGroup],
// under a name. A name has 1 to [MaxName] bytes of UTF-8 without colons and control
// characters, and is unique in the store.
//
// Errors: those of AddGroup, [ErrBadName], [ErrNameTaken], [ErrNoCatalog].
func (s *Store) AddNamed(name string, files ...File) (ID, error) {
	if err := checkName(name); err != nil {
		return 0, fmt.Errorf("fdstore: add: %w", err)
	}
	return s.addGroup(name, files)
}

// Lookup returns the ID of the message that was added under a name. It never waits for
// a get or an add.
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

// enterCatalog is enter for methods that need the catalog.
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

// List returns all messages of the store, ordered by ID.
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

// All yields all messages of the store, ordered by ID. An error comes last, with an
// empty Entry. All reads the catalog in pieces and keeps nothing in memory.
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

// CopyTo adds every message of this store to another store, in the same order and
// under the same names. Both stores share the open files. CopyTo stops at the first
// error; the messages copied by then stay in dst.
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
