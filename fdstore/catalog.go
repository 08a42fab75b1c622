//go:build linux

package fdstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// catalog lists the messages of a store. It is a memfd that the header carries, with one
// record for each message and an index of their names. Only one process writes it.
//
//	0       8       16      24     32          64                  2112
//	│ magic │ count │ end   │ only │ not used, 0 │ 512 links, uint32 │ record 0 │ ... │ end
//
//	record:  0     4       5        6       8                      24
//	         │ ID  │ files │ length │ 0     │ 4 links, uint32      │ name, 0 up to 8 k │
//	                                        └─ only if the length is not 0 ───┘
//
// Numbers are in native byte order; a link is the offset of a record divided by 8,
// or 0. Records beyond the count are ignored.
//
// The index is a tree by the bits of a name's hash. The hash starts with the store's
// number, so that without the number nobody can choose names that collide:
//
//	hash(name) ── lowest 9 bits ──▶ one of the 512 links ──▶ record A
//	           └─ 2 bits more ──▶ one of the 4 links of A ──▶ record B ──▶ ...
//
// Nothing ever moves, so readers need no lock, and the writer can be killed at any
// point: a record beyond the count is overwritten.
type catalog struct {
	fd     int
	number uint64 // of the store
	end    int64  // of the counted records: where the writer writes the next one

	// links are the links of the first level at the time of opening. A link that is
	// not 0 never changes.
	links [4 * catalogBuckets]byte
}

// record is the catalog's entry for one message.
type record struct {
	id    ID
	files int
	name  string
}

const (
	catalogMagic   = 0x3274616373646600 // "\0fdscat2" in the bytes of a little-endian machine
	catalogMagic1  = 0x3174616373646600 // the first version, which had no index
	catalogCount   = 8
	catalogEnd     = 16
	catalogOnly    = 24 // not 0: only the maker can be the writer
	catalogLinks   = 64
	catalogBuckets = 512
	catalogStart   = catalogLinks + 4*catalogBuckets

	recordHead  = 8
	recordName  = recordHead + 4*recordLinks
	recordLinks = 4
	recordUnit  = 8 // of a link; the size of a record is a multiple of it
	maxRecord   = (recordName + MaxName + recordUnit - 1) / recordUnit * recordUnit
)

// newCatalog makes an empty catalog.
func newCatalog(number uint64) (*catalog, error) {
	fd, err := unix.MemfdCreate("fdstore-catalog", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	c := &catalog{fd: fd, number: number, end: catalogStart}
	head := make([]byte, catalogStart)
	binary.NativeEndian.PutUint64(head, catalogMagic)
	binary.NativeEndian.PutUint64(head[catalogEnd:], catalogStart)
	if err := c.writeAt(head, 0); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// openCatalog opens the catalog at a descriptor, which it takes over: after an error
// it has closed it. count is the number of messages now.
func openCatalog(fd int, number uint64) (c *catalog, count uint64, err error) {
	c = &catalog{fd: fd, number: number}
	var head [catalogStart]byte
	n, err := c.readSome(head[:], 0)
	switch got := binary.NativeEndian.Uint64(head[:]); {
	case err == nil && got == catalogMagic && n == len(head):
		copy(c.links[:], head[catalogLinks:])
		return c, binary.NativeEndian.Uint64(head[catalogCount:]), nil
	case err == nil && got == catalogMagic1:
		err = fmt.Errorf("%w: its catalog is of version 1, which has no index; this package reads version 2", ErrNotStore)
	default:
		err = fmt.Errorf("%w: its header carries something else than a catalog", ErrNotStore)
	}
	c.close()
	return nil, 0, err
}

// readAt fills b. It returns io.ErrUnexpectedEOF if b reaches beyond the end.
func (c *catalog) readAt(b []byte, at int64) error {
	n, err := c.readSome(b, at)
	if err == nil && n < len(b) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// readSome is pread(2), which for a memfd returns less than asked only at the end.
func (c *catalog) readSome(b []byte, at int64) (n int, err error) {
	for {
		n, err = unix.Pread(c.fd, b, at)
		if !errors.Is(err, unix.EINTR) {
			return n, os.NewSyscallError("pread", err)
		}
	}
}

func (c *catalog) writeAt(b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(c.fd, b, at)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("its catalog: %w: %w", ErrSealed, os.NewSyscallError("pwrite", err))
		case err != nil:
			return fmt.Errorf("its catalog: %w", os.NewSyscallError("pwrite", err))
		}
		b, at = b[max(n, 0):], at+int64(max(n, 0))
	}
	return nil
}

// count returns how many messages there are.
func (c *catalog) count(l Layout) (uint64, error) {
	var b [8]byte
	if err := c.readAt(b[:], catalogCount); err != nil {
		return 0, err
	}
	n := binary.NativeEndian.Uint64(b[:])
	if n > uint64(l.Limit()) {
		return 0, fmt.Errorf("%w: its catalog counts %d messages, more than its layout allows", ErrForeign, n)
	}
	return n, nil
}

// begin prepares to write after the records of the last writer, and returns the number
// of counted messages.
func (c *catalog) begin(l Layout) (count uint64, err error) {
	var b [8]byte
	if err := c.readAt(b[:], catalogEnd); err != nil {
		return 0, err
	}
	c.end = int64(binary.NativeEndian.Uint64(b[:]))
	if c.end < catalogStart || c.end%recordUnit != 0 {
		return 0, fmt.Errorf("%w: its catalog ends at %d", ErrForeign, c.end)
	}
	return c.count(l)
}

// next returns the record of a message that is not counted yet.
func (c *catalog) next(id ID) (record, error) {
	from := bufio.NewReaderSize(io.NewSectionReader(catalogReader{c}, c.end, maxRecord), maxRecord)
	r, err := readRecord(from)
	if err == nil && r.id != id {
		err = fmt.Errorf("it belongs to message %d", r.id)
	}
	if err != nil {
		return r, fmt.Errorf("%w: record %d of its catalog is damaged: %w", ErrForeign, id, err)
	}
	return r, nil
}

// size returns how many bytes a record takes.
func (r record) size() int64 {
	if r.name == "" {
		return recordHead
	}
	return (int64(recordName+len(r.name)) + recordUnit - 1) / recordUnit * recordUnit
}

// write writes the next record after the others. It is not counted yet.
func (c *catalog) write(r record) error {
	b := make([]byte, r.size())
	binary.NativeEndian.PutUint32(b, uint32(r.id))
	b[4], b[5] = uint8(r.files), uint8(len(r.name))
	if r.name != "" {
		copy(b[recordName:], r.name)
	}
	return c.writeAt(b, c.end)
}

// commit links the written record and counts it. link is the offset from find at which
// the name must be linked, 0 if it is linked already.
func (c *catalog) commit(r record, link int64) error {
	if r.name != "" && link != 0 {
		if err := c.writeAt(binary.NativeEndian.AppendUint32(nil, uint32(c.end/recordUnit)), link); err != nil {
			return err
		}
	}
	end := c.end + r.size()
	head := binary.NativeEndian.AppendUint64(make([]byte, 0, 16), uint64(r.id)+1)
	if err := c.writeAt(binary.NativeEndian.AppendUint64(head, uint64(end)), catalogCount); err != nil {
		return err
	}
	c.end = end
	return nil
}

// hashName is FNV-1a that starts with the store's number. The bits are mixed at the
// end, because the tree uses the lowest ones.
func hashName(number uint64, name string) uint64 {
	h := 14695981039346656037 ^ number
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// find searches for a name. If it is not found, link is the offset at which a record
// with that name must be linked. A record that is found may not be counted yet.
func (c *catalog) find(name string) (id ID, found bool, link int64, err error) {
	var b [maxRecord]byte
	h := hashName(c.number, name)
	first := 4 * int64(h%catalogBuckets)
	link = catalogLinks + first
	h /= catalogBuckets
	next := c.links[first : first+4]
	if binary.NativeEndian.Uint32(next) == 0 {
		next = b[:4]
		if err := c.readAt(next, link); err != nil {
			return 0, false, 0, err
		}
	}
	for {
		at := recordUnit * int64(binary.NativeEndian.Uint32(next))
		if at == 0 {
			return 0, false, link, nil
		}
		n, err := c.readSome(b[:], at)
		if err != nil {
			return 0, false, 0, err
		}
		// A linked record has a name, and links lead forward.
		if n < recordName || b[5] == 0 || n < recordName+int(b[5]) || at < catalogStart || at <= link {
			return 0, false, 0, fmt.Errorf("%w: the index of its catalog is damaged at %d", ErrForeign, link)
		}
		if string(b[recordName:recordName+int(b[5])]) == name {
			return ID(binary.NativeEndian.Uint32(b[:])), true, link, nil
		}
		own := recordHead + 4*int(h%recordLinks)
		h /= recordLinks
		next, link = b[own:own+4], at+int64(own)
	}
}

// all yields the records that are counted now. It stops at the first damaged record,
// with an error.
func (c *catalog) all(l Layout, yield func(record, error) bool) {
	count, err := c.count(l)
	if err != nil {
		yield(record{}, err)
		return
	}
	from := bufio.NewReaderSize(io.NewSectionReader(catalogReader{c}, catalogStart, 1<<62), 1<<16)
	for id := range count {
		r, err := readRecord(from)
		if err == nil && r.id != ID(id) {
			err = fmt.Errorf("it belongs to message %d", r.id)
		}
		if err != nil {
			yield(record{}, fmt.Errorf("%w: record %d of its catalog is damaged: %w", ErrForeign, id, err))
			return
		}
		if !yield(r, nil) {
			return
		}
	}
}

func readRecord(from *bufio.Reader) (record, error) {
	var b [maxRecord]byte
	if _, err := io.ReadFull(from, b[:recordHead]); err != nil {
		return record{}, err
	}
	r := record{id: ID(binary.NativeEndian.Uint32(b[:])), files: int(b[4])}
	if r.files < 1 || r.files > MaxGroup {
		return r, fmt.Errorf("it has a message of %d files", r.files)
	}
	length := int(b[5])
	if length == 0 {
		return r, nil
	}
	r.name = strings.Repeat(" ", length) // so that size is right
	if _, err := io.ReadFull(from, b[recordHead:r.size()]); err != nil {
		return r, err
	}
	r.name = string(b[recordName : recordName+length])
	return r, checkName(r.name)
}

// catalogReader reads a catalog as an io.ReaderAt.
type catalogReader struct{ c *catalog }

func (r catalogReader) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.c.readSome(b, at)
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return max(n, 0), err
}

const catalogSeals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK

// seal makes the catalog immutable. It can be repeated.
func (c *catalog) seal() error {
	if c.sealed() {
		return nil
	}
	_, err := unix.FcntlInt(uintptr(c.fd), unix.F_ADD_SEALS, catalogSeals|unix.F_SEAL_SEAL)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("its catalog is mapped for writing by another holder: %w", os.NewSyscallError("fcntl F_ADD_SEALS", err))
	}
	return os.NewSyscallError("fcntl F_ADD_SEALS", err)
}

func (c *catalog) sealed() bool {
	seals, err := unix.FcntlInt(uintptr(c.fd), unix.F_GET_SEALS, 0)
	return err == nil && seals&catalogSeals == catalogSeals
}

func (c *catalog) close() { _ = unix.Close(c.fd) } // a memfd has nothing to write back

// checkName refuses the names that service managers refuse, see FDNAME in sd_notify(3).
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
