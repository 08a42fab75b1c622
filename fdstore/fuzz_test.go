//go:build linux

package fdstore

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// FuzzParse parses arbitrary bytes: the parser must not panic, must not return more
// descriptors than the bytes contain, must return all of a well-formed control message,
// and must accept only valid payloads.
func FuzzParse(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(wire.Payload{Number: 7, Word: 3}.Append(nil), unix.UnixRights(3, 4, 5))
	f.Add(wire.Payload{Number: 7, Word: 3}.Append(nil), append(unix.UnixRights(3), unix.UnixRights(9, 8)...))
	f.Add(wire.Payload{Number: 0, Word: 0}.Append(nil), unix.UnixRights(3, 4, 5)[:unix.CmsgLen(6)])
	f.Add(make([]byte, wire.PayloadSize+1), unix.UnixCredentials(&unix.Ucred{Pid: 1}))
	f.Add([]byte("short"), append(unix.UnixCredentials(&unix.Ucred{}), unix.UnixRights(1, -1, 2)...))
	f.Fuzz(func(t *testing.T, data, oob []byte) {
		if p, ok := wire.ParsePayload(data); ok != (len(data) == wire.PayloadSize) || ok && string(p.Append(nil)) != string(data) {
			t.Errorf("payload %x parsed as %v, %v", data, p, ok)
		}
		var c control
		c.files = append(c.files, 99) // of an earlier message
		c.parse(oob)
		if n := len(c.files) + len(c.strays); n*fdSize > max(0, len(oob)-unix.SizeofCmsghdr) {
			t.Errorf("%d descriptors in %d bytes", n, len(oob))
		}
		if slices.ContainsFunc(slices.Concat(c.files, c.strays), func(fd int) bool { return fd < 0 }) {
			t.Errorf("negative descriptors: %v, %v", c.files, c.strays)
		}
		if want, ok := allRights(oob); ok && !slices.Equal(c.files, want) {
			t.Errorf("files %v, want %v", c.files, want)
		}
	})
}

// allRights decodes with the parser of x/sys, which refuses bytes that are not
// well-formed to their end.
func allRights(oob []byte) ([]int, bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, false
	}
	var fds []int
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		for i := 0; i+fdSize <= len(m.Data); i += fdSize {
			if fd := int32(binary.NativeEndian.Uint32(m.Data[i:])); fd >= 0 {
				fds = append(fds, int(fd))
			}
		}
	}
	return fds, true
}

// FuzzCatalog reads arbitrary catalogs and looks up a name in them: both must end, and
// must return only records that a writer could have written.
func FuzzCatalog(f *testing.F) {
	f.Add(uint64(2), "b", []byte{0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 253, 0, 0, 0})
	f.Add(uint64(1<<63), "", []byte{0, 0, 0, 0, 1, 255})
	f.Add(uint64(1), "a", append(make([]byte, 4), 254, 1, 0, 0))
	f.Add(uint64(1), "a", append(append(make([]byte, 4), 1, 1), make([]byte, 26)...))
	f.Fuzz(func(t *testing.T, count uint64, name string, records []byte) {
		c, err := newCatalog(7)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		// A name's first link leads to the first record.
		link := binary.NativeEndian.AppendUint32(nil, catalogStart/recordUnit)
		err = errors.Join(
			c.writeAt(binary.NativeEndian.AppendUint64(nil, count), catalogCount),
			c.writeAt(link, catalogLinks+4*int64(hashName(7, name)%catalogBuckets)),
			c.writeAt(records, catalogStart),
		)
		if err != nil {
			t.Fatal(err)
		}
		var size int64
		var n uint64
		c.all(Nested, func(r record, e error) bool {
			if err = e; e != nil {
				return false
			}
			if uint64(r.id) != n || r.files < 1 || r.files > MaxGroup || r.name != "" && checkName(r.name) != nil {
				t.Errorf("record %d is %v", n, r)
			}
			size += r.size()
			n++
			return true
		})
		if err == nil && n != count {
			t.Errorf("%d records, the count is %d", n, count)
		}
		if size > int64(len(records)) {
			t.Errorf("%d bytes of records out of %d", size, len(records))
		}
		_, _, _, _ = c.find(name)
	})
}
