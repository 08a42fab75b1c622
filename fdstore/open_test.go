//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// opened opens a store as another process would, through a dup.
func opened(t *testing.T, s *Store) *Store {
	t.Helper()
	fd, err := unix.Dup(s.FD())
	if err != nil {
		t.Fatal(err)
	}
	o, err := Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, o) })
	return o
}

func TestOpen(t *testing.T) {
	for _, layout := range []Layout{Nested, Flat} {
		s := newTestStore(t, Options{Layout: layout})
		o := opened(t, s)
		if flags, err := unix.FcntlInt(uintptr(o.FD()), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("the descriptor's flags are %#x (%v), want close-on-exec", flags, err)
		}
		if o.Number() != s.Number() || o.Layout() != layout || o.Len() != 0 {
			t.Errorf("number %d, layout %d, length %d", o.Number(), o.Layout(), o.Len())
		}
		// Messages added later are visible, too.
		files := []*os.File{memfd(t, "a"), memfd(t, "b")}
		for i := range 1200 {
			name := ""
			if i%100 == 0 {
				name = fmt.Sprintf("name %d", i)
			}
			if i == 50 {
				name = strings.Repeat("x", MaxName)
			}
			if _, err := s.add(name, []int{int(files[i%2].Fd()), int(files[0].Fd())}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := o.Lookup("name 1100"); err != nil {
			t.Error(err)
		}
		for _, id := range []ID{0, 1, 40, 1057, 1199} {
			got, err := o.GetGroup(id)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 2 || !same(t, got[0], files[id%2]) || !same(t, got[1], files[0]) {
				t.Errorf("message %d has other files", id)
			}
			for _, f := range got {
				f.Close()
			}
		}
		for what, err := range map[string]error{
			"add": second(o.Add(files[0])), "add a name": second(o.AddNamed("x", files[0])), "seal": o.Seal(),
		} {
			if !errors.Is(err, ErrReadOnly) {
				t.Errorf("%s: got %v, want ErrReadOnly", what, err)
			}
		}
		if _, err := o.Get(1200); !errors.Is(err, ErrNotFound) {
			t.Errorf("message 1200: got %v, want ErrNotFound", err)
		}
		if _, err := o.Get(0); !errors.Is(err, ErrGroup) {
			t.Errorf("a group as one file: got %v, want ErrGroup", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if f, err := o.GetGroup(1100); err != nil { // also after the maker's Close
			t.Error(err)
		} else {
			f[0].Close()
			f[1].Close()
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestOpenRefuses opens descriptors that are not stores. They must stay open.
func TestOpenRefuses(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := newSocket(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := newSocket(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{fd: other, layout: Flat, number: 7}
	if err := s.sendTo(&socket{fd: other}, wire.NewWord(wire.Files, 0, 0, 0), nil); err != nil {
		t.Fatal(err)
	}
	odd, err := newSocket(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sendTo(&socket{fd: odd}, Flat.HeaderWord(1), []int{int(memfd(t, "no catalog").Fd())}); err != nil {
		t.Fatal(err)
	}
	stream, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{pair[0], pair[1], empty, other, odd, stream} {
		defer unix.Close(fd)
	}
	for what, fd := range map[string]int{
		"a file": int(devNull(t).Fd()), "a pair": pair[0], "an empty one": empty, "no header": other, "a catalog that is none": odd, "a stream": stream,
	} {
		before := len(descriptors())
		if _, err := Open(fd); !errors.Is(err, ErrNotStore) {
			t.Errorf("%s: got %v, want ErrNotStore", what, err)
		}
		if after := len(descriptors()); after != before {
			t.Errorf("%s: %d descriptors before, %d after", what, before, after)
		}
	}
	if _, err := Open(1 << 20); !errors.Is(err, unix.EBADF) {
		t.Errorf("a closed descriptor: got %v, want EBADF", err)
	}
}

func TestNames(t *testing.T) {
	s := newTestStore(t, Options{})
	f := devNull(t)
	for _, c := range []struct {
		name string
		want error
	}{
		{"listener", nil},
		{"listener", ErrNameTaken},
		{"", ErrBadName},
		{"a:b", ErrBadName},
		{"a\nb", ErrBadName},
		{"\x7f", ErrBadName},
		{"\xff", ErrBadName},
		{strings.Repeat("x", MaxName), nil},
		{strings.Repeat("x", MaxName+1), ErrBadName},
		{"with space, ünïcode", nil},
	} {
		before := s.Len()
		id, err := s.AddNamed(c.name, f)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%q: got %v, want %v", c.name, err, c.want)
		}
		if err != nil {
			if s.Len() != before {
				t.Errorf("%q: refused, but counted", c.name)
			}
			continue
		}
		if got, err := s.Lookup(c.name); err != nil || got != id {
			t.Errorf("%q: got %d, %v, want %d", c.name, got, err, id)
		}
	}
	if _, err := s.Lookup("nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	bare := newTestStore(t, Options{WithoutCatalog: true})
	for what, err := range map[string]error{
		"add": second(bare.AddNamed("a", f)), "lookup": second(bare.Lookup("a")), "list": second(bare.List()), "copy": bare.CopyTo(s),
	} {
		if !errors.Is(err, ErrNoCatalog) {
			t.Errorf("%s without a catalog: got %v, want ErrNoCatalog", what, err)
		}
	}
}

// TestListAndCopy copies an opened store to another store that already has messages.
func TestListAndCopy(t *testing.T) {
	s := newTestStore(t, Options{})
	a, b := memfd(t, "a"), memfd(t, "b")
	for i := range 50 {
		name, group := "", []int{int(a.Fd())}
		if i%7 == 0 {
			name, group = fmt.Sprint("n", i), []int{int(b.Fd()), int(a.Fd())}
		}
		if _, err := s.add(name, group); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	dst := newTestStore(t, Options{Layout: Flat})
	if _, err := dst.AddNamed("before", a); err != nil {
		t.Fatal(err)
	}
	from := opened(t, s)
	if err := from.CopyTo(dst); err != nil {
		t.Fatal(err)
	}
	want, err1 := from.List()
	got, err2 := dst.List()
	if err := errors.Join(err1, err2); err != nil || len(want) != 50 {
		t.Fatalf("%d messages, %v", len(want), err)
	}
	for i := range want {
		want[i].ID++
	}
	if !slices.Equal(got, append([]Entry{{0, "before", 1}}, want...)) {
		t.Errorf("got %v, want %v", got, want)
	}
	id, err := dst.Lookup("n49")
	if err != nil {
		t.Fatal(err)
	}
	files, err := dst.GetGroup(id)
	if err != nil || len(files) != 2 || !same(t, files[0], b) || !same(t, files[1], a) {
		t.Errorf("n49: %v, %v", files, err)
	}
	for _, f := range files {
		f.Close()
	}
	if err := from.CopyTo(dst); !errors.Is(err, ErrNameTaken) {
		t.Errorf("copying twice: got %v, want ErrNameTaken", err)
	}
	// The catalog of a sealed store is sealed.
	if _, err := unix.Pwrite(from.catalog.fd, []byte{9}, catalogCount); !errors.Is(err, unix.EPERM) {
		t.Errorf("writing to a sealed catalog: %v, want EPERM", err)
	}
}

// TestDamagedCatalog writes invalid data to a catalog: the result must be an error, not a
// wrong file.
func TestDamagedCatalog(t *testing.T) {
	for what, damage := range map[string]func(fd int) error{
		"no files":   func(fd int) error { return second(unix.Pwrite(fd, []byte{0, 0}, catalogStart+4)) },
		"cut off":    func(fd int) error { return unix.Ftruncate(fd, catalogStart+1) },
		"long name":  func(fd int) error { return second(unix.Pwrite(fd, []byte{1, 255}, catalogStart+4)) },
		"another ID": func(fd int) error { return second(unix.Pwrite(fd, []byte{1}, catalogStart)) },
		"high count": func(fd int) error { return second(unix.Pwrite(fd, []byte{9}, catalogCount)) },
	} {
		s := newTestStore(t, Options{})
		if _, err := s.Add(devNull(t)); err != nil {
			t.Fatal(err)
		}
		o := opened(t, s)
		if err := damage(s.catalog.fd); err != nil {
			t.Fatal(err)
		}
		if _, err := o.List(); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: got %v, want ErrForeign", what, err)
		}
	}
}
