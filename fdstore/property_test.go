//go:build linux

package fdstore

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestStoreIsAMap runs random operations on a store and on a map from ID to
// the files that were added.
func TestStoreIsAMap(t *testing.T) {
	pool := make([]*os.File, 8)
	for i := range pool {
		pool[i] = memfd(t, string(rune('a'+i)))
	}
	rapid.Check(t, func(rt *rapid.T) {
		s, err := New(Options{})
		if err != nil {
			rt.Fatal(err)
		}
		defer closeStore(rt, s)
		m := &mapModel{t: t, store: s, pool: pool, names: map[string]ID{}}
		fd, err := unix.Dup(s.FD())
		if err != nil {
			rt.Fatal(err)
		}
		if m.opened, err = Open(fd); err != nil {
			rt.Fatal(err)
		}
		defer closeStore(rt, m.opened)
		// So that later messages are in the root, in shards or in branches.
		for range rapid.SampledFrom([]int{0, 0, 30, 60, 1050}).Draw(rt, "before") {
			m.add(rt, "", 1)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"add":      func(rt *rapid.T) { m.add(rt, "", 1) },
			"addGroup": func(rt *rapid.T) { m.add(rt, "", rapid.IntRange(2, 30).Draw(rt, "files")) },
			"addNamed": func(rt *rapid.T) {
				m.add(rt, rapid.StringMatching(`[a-c]{1,3}`).Draw(rt, "name"), rapid.IntRange(1, 3).Draw(rt, "files"))
			},
			"lookup":   m.lookup,
			"get":      m.get,
			"getGroup": m.getGroup,
			"seal": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "seldom") == 0 {
					if err := s.Seal(); err != nil {
						rt.Fatal(err)
					}
					m.sealed = true
				}
			},
			"": func(rt *rapid.T) {
				if s.Len() != len(m.messages) || m.opened.Len() != len(m.messages) {
					rt.Fatalf("%d messages, %d where it was opened, want %d", s.Len(), m.opened.Len(), len(m.messages))
				}
			},
		})
	})
}

type mapModel struct {
	t        *testing.T
	store    *Store
	opened   *Store // the same store, as another process has it
	pool     []*os.File
	messages map[ID][]*os.File
	names    map[string]ID
	sealed   bool
}

func (m *mapModel) add(rt *rapid.T, name string, n int) {
	files := make([]*os.File, n)
	group := make([]File, n)
	for i := range files {
		files[i] = rapid.SampledFrom(m.pool).Draw(rt, "file")
		group[i] = files[i]
	}
	var id ID
	var err error
	if name == "" {
		id, err = m.store.AddGroup(group...)
	} else {
		id, err = m.store.AddNamed(name, group...)
	}
	_, taken := m.names[name]
	switch {
	case taken:
		if !errors.Is(err, ErrNameTaken) {
			rt.Fatalf("add the name %q again: %v", name, err)
		}
		return
	case m.sealed:
		if !errors.Is(err, ErrSealed) {
			rt.Fatalf("add to a sealed store: %v", err)
		}
		return
	case err != nil:
		rt.Fatal(err)
	case id != ID(len(m.messages)):
		rt.Fatalf("ID %d, want %d", id, len(m.messages))
	}
	if m.messages == nil {
		m.messages = map[ID][]*os.File{}
	}
	m.messages[id] = files
	if name != "" {
		m.names[name] = id
	}
}

func (m *mapModel) lookup(rt *rapid.T) {
	name := rapid.StringMatching(`[a-c]{1,3}`).Draw(rt, "name")
	id, err := m.any(rt).Lookup(name)
	want, ok := m.names[name]
	if ok && (err != nil || id != want) || !ok && !errors.Is(err, ErrNotFound) {
		rt.Fatalf("name %q: %d, %v; want %d, %v", name, id, err, want, ok)
	}
}

// any returns the maker's Store or the opened one.
func (m *mapModel) any(rt *rapid.T) *Store {
	if rapid.Bool().Draw(rt, "opened") {
		return m.opened
	}
	return m.store
}

// id draws an ID that exists, or is a little too high.
func (m *mapModel) id(rt *rapid.T) ID {
	return ID(rapid.IntRange(0, len(m.messages)+1).Draw(rt, "id"))
}

func (m *mapModel) get(rt *rapid.T) {
	id := m.id(rt)
	f, err := m.any(rt).Get(id)
	if f != nil {
		defer f.Close()
	}
	switch want, ok := m.messages[id]; {
	case !ok:
		if !errors.Is(err, ErrNotFound) {
			rt.Fatalf("message %d that is not there: %v", id, err)
		}
	case len(want) > 1:
		if !errors.Is(err, ErrGroup) {
			rt.Fatalf("message %d of %d files: %v", id, len(want), err)
		}
	case err != nil:
		rt.Fatal(err)
	case !same(m.t, f, want[0]):
		rt.Fatalf("message %d is another file", id)
	}
}

func (m *mapModel) getGroup(rt *rapid.T) {
	id := m.id(rt)
	files, err := m.any(rt).GetGroup(id)
	for _, f := range files {
		defer f.Close()
	}
	want, ok := m.messages[id]
	if !ok {
		if !errors.Is(err, ErrNotFound) {
			rt.Fatalf("message %d that is not there: %v", id, err)
		}
		return
	}
	if err != nil || len(files) != len(want) {
		rt.Fatalf("message %d: %d files, %v; want %d", id, len(files), err, len(want))
	}
	for i := range want {
		if !same(m.t, files[i], want[i]) {
			rt.Fatalf("message %d: file %d is another one", id, i)
		}
	}
}
