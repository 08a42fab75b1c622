package fdstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// catalog tells what a store holds: a memfd that the header carries. Only the
// maker writes it; a record counts once the count says so.
//
//	0       8       16                        32
//	│ magic │ count │ not used, 0             │ record 0 │ record 1 │ ...
//
//	record: files (1 byte) │ length of the name (1 byte) │ name
//
// Numbers are in native byte order. Record i belongs to message i.
type catalog struct {
	file    *os.File // nil: the store has none
	end     int64    // of the records that count
	names   map[string]ID
	records []record
}

// record is what the catalog says of one message.
type record struct {
	files uint8
	name  string
}

const (
	catalogMagic = 0x3174616373646600 // "\0fdscat1" in the bytes of a little-endian machine
	catalogCount = 8
	catalogStart = 32

	// MaxName is the length of the longest name, in bytes.
	MaxName = 255
)

// newCatalog makes an empty one.
func newCatalog() (*catalog, error) {
	fd, err := unix.MemfdCreate("fdstore-catalog", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	c := &catalog{file: os.NewFile(uintptr(fd), "fdstore-catalog"), end: catalogStart, names: map[string]ID{}}
	head := binary.NativeEndian.AppendUint64(make([]byte, 0, catalogStart), catalogMagic)
	if _, err := c.file.WriteAt(head[:catalogStart], 0); err != nil {
		_ = c.file.Close()
		return nil, err
	}
	return c, nil
}

// openCatalog takes over the descriptor of a catalog that a store carries.
func openCatalog(fd int) (*catalog, error) {
	c := &catalog{file: os.NewFile(uintptr(fd), "fdstore-catalog"), end: catalogStart, names: map[string]ID{}}
	var magic [8]byte
	if _, err := c.file.ReadAt(magic[:], 0); err != nil || binary.NativeEndian.Uint64(magic[:]) != catalogMagic {
		_ = c.file.Close()
		return nil, fmt.Errorf("%w: its catalog is none", ErrNotStore)
	}
	return c, nil
}

// write puts the next record behind the others. It does not count yet.
func (c *catalog) write(r record) error {
	if c.file == nil {
		return nil
	}
	b := append([]byte{r.files, uint8(len(r.name))}, r.name...)
	_, err := c.file.WriteAt(b, c.end)
	return err
}

// commit makes the record that was written count.
func (c *catalog) commit(r record) error {
	if r.name != "" {
		c.names[r.name] = ID(len(c.records))
	}
	c.records = append(c.records, r)
	if c.file == nil {
		return nil
	}
	c.end += int64(2 + len(r.name))
	count := binary.NativeEndian.AppendUint64(nil, uint64(len(c.records)))
	_, err := c.file.WriteAt(count, catalogCount)
	return err
}

// read takes over what another process has added since.
func (c *catalog) read() error {
	var b [8]byte
	if _, err := c.file.ReadAt(b[:], catalogCount); err != nil {
		return err
	}
	count := binary.NativeEndian.Uint64(b[:])
	if count <= uint64(len(c.records)) {
		return nil
	}
	text, err := io.ReadAll(io.NewSectionReader(c.file, c.end, 1<<40))
	if err != nil {
		return err
	}
	for uint64(len(c.records)) < count {
		end := 2
		if len(text) >= 2 {
			end += int(text[1])
		}
		if len(text) < end || text[0] == 0 || text[0] > MaxGroup {
			return fmt.Errorf("%w: record %d of its catalog is damaged", ErrForeign, len(c.records))
		}
		r := record{text[0], string(text[2:end])}
		if r.name != "" {
			c.names[r.name] = ID(len(c.records))
		}
		c.records = append(c.records, r)
		c.end += int64(2 + len(r.name))
		text = text[end:]
	}
	return nil
}

// seal lets nobody change the catalog any more.
func (c *catalog) seal() error {
	if c.file == nil {
		return nil
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	_, err := unix.FcntlInt(c.file.Fd(), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("fcntl F_ADD_SEALS", err)
}

func (c *catalog) close() {
	if c.file != nil {
		_ = c.file.Close() // a memfd has nothing to write back
	}
}

// checkName refuses what service managers refuse too, see sd_notify(3), FDNAME.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrBadName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrBadName, len(name), MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %q is not UTF-8", ErrBadName, name)
	case strings.ContainsFunc(name, func(c rune) bool { return c == ':' || c < ' ' || c == 0x7f }):
		return fmt.Errorf("%w: %q has a colon or a control character", ErrBadName, name)
	}
	return nil
}

// Entry is one message of a store.
type Entry struct {
	ID    ID
	Name  string // "" if it was added without one
	Files int    // 1 to MaxGroup
}

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

// Lookup returns the message that was added under a name.
//
// Errors: [ErrClosed], [ErrNotFound], [ErrNoCatalog].
func (s *Store) Lookup(name string) (ID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok, err := s.lookup(name)
	switch {
	case err != nil:
		return 0, fmt.Errorf("fdstore: look up %q: %w", name, err)
	case !ok:
		return 0, fmt.Errorf("fdstore: look up %q: %w", name, ErrNotFound)
	}
	return id, nil
}

func (s *Store) lookup(name string) (id ID, ok bool, err error) {
	if id, ok := s.catalog.names[name]; ok && s.fd >= 0 {
		return id, true, nil
	}
	if err := s.refresh(); err != nil {
		return 0, false, err
	}
	id, ok = s.catalog.names[name]
	return id, ok, nil
}

// List returns all messages that there are now, by ID.
//
// Errors: [ErrClosed], [ErrNoCatalog].
func (s *Store) List() ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return nil, fmt.Errorf("fdstore: list: %w", err)
	}
	entries := make([]Entry, len(s.catalog.records))
	for i, r := range s.catalog.records {
		entries[i] = Entry{ID(i), r.name, int(r.files)}
	}
	return entries, nil
}

// All yields the messages that there are now, by ID. An error is the last that it
// yields, with an empty Entry.
//
// Errors: [ErrClosed], [ErrNoCatalog], [ErrForeign] for a catalog that is damaged.
func (s *Store) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		entries, err := s.List()
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(Entry{}, err)
		}
	}
}

// refresh reads what the maker has added, where this is not the maker.
func (s *Store) refresh() error {
	switch {
	case s.fd < 0:
		return ErrClosed
	case s.catalog.file == nil:
		return ErrNoCatalog
	case s.maker:
		return nil
	}
	return s.catalog.read()
}

// CopyTo adds every message of this store to another one, in the same order and
// under the same names. The files are shared by both: the same open file
// descriptions. It stops at the first error; what was copied by then stays.
//
// Errors: those of [Store.List], [Store.GetGroup] and [Store.AddNamed].
func (s *Store) CopyTo(dst *Store) error {
	entries, err := s.List()
	if err != nil {
		return err
	}
	for _, e := range entries {
		fds, err := s.pull(e.ID, nil, false)
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
