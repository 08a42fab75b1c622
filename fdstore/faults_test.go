//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// TestSealIsRetried checks that Seal fails while a holder has a writable mapping of the
// catalog, and can be repeated.
func TestSealIsRetried(t *testing.T) {
	s := newTestStore(t, Options{})
	for i := range 100 { // so that a shard is open
		if _, err := s.AddNamed(fmt.Sprint("name", i), devNull(t)); err != nil {
			t.Fatal(err)
		}
	}
	o := opened(t, s)
	mapped, err := unix.Mmap(o.catalog.fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Seal(); !errors.Is(err, unix.EBUSY) {
			t.Errorf("with the catalog mapped: %v, want EBUSY", err)
		}
		if s.Sealed() || o.Sealed() {
			t.Error("Sealed is true although Seal has failed")
		}
	}
	if _, err := s.AddNamed("after all", devNull(t)); err != nil {
		t.Errorf("add after a failed Seal: %v", err)
	}
	if err := unix.Munmap(mapped); err != nil {
		t.Fatal(err)
	}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	if !s.Sealed() || !o.Sealed() {
		t.Error("Sealed is false after Seal")
	}
	if _, err := unix.Mmap(o.catalog.fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EPERM) {
		t.Errorf("mapping a sealed catalog for writing: %v, want EPERM", err)
	}
	if _, err := s.Add(devNull(t)); !errors.Is(err, ErrSealed) {
		t.Errorf("add: %v, want ErrSealed", err)
	}
	closeStore(t, o)
	if o.Sealed() {
		t.Error("Sealed is true for a closed store")
	}
}

// TestSealedByAnother seals only the catalog or only the socket of a store, as another
// holder could.
func TestSealedByAnother(t *testing.T) {
	s, bare := newTestStore(t, Options{}), newTestStore(t, Options{WithoutCatalog: true})
	if _, err := unix.FcntlInt(uintptr(s.catalog.fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SEAL); err != nil {
		t.Fatal(err)
	}
	if s.Sealed() {
		t.Error("Sealed is true if only the catalog is sealed")
	}
	if _, err := s.Add(devNull(t)); !errors.Is(err, ErrSealed) {
		t.Errorf("add: %v, want ErrSealed", err)
	}
	if err := s.Seal(); !errors.Is(err, unix.EPERM) {
		t.Errorf("Seal with F_SEAL_SEAL set by another holder: %v, want EPERM", err)
	}
	if bare.Sealed() {
		t.Error("Sealed is true for a new store")
	}
	if err := unix.Shutdown(bare.FD(), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if !bare.Sealed() || !opened(t, bare).Sealed() {
		t.Error("Sealed is false for a store without a catalog whose socket is shut down")
	}
}

// TestMessageWithoutFiles gets a message without files, which no writer adds.
func TestMessageWithoutFiles(t *testing.T) {
	for _, catalog := range []bool{false, true} {
		s := newTestStore(t, Options{WithoutCatalog: !catalog})
		if err := s.sendTo(&s.writer.Load().root, s.layout.Place(0, 0).Word, nil); err != nil {
			t.Fatal(err)
		}
		if catalog {
			if err := s.catalog.commit(record{files: 1}, 0); err != nil {
				t.Fatal(err)
			}
		}
		o := opened(t, s)
		for what, err := range map[string]error{
			"Get": second(o.Get(0)), "GetGroup": second(o.GetGroup(0)), "GetFDs": second(o.GetFDs(0, nil)), "Verify": o.Verify(),
		} {
			if !errors.Is(err, ErrForeign) {
				t.Errorf("%s, catalog %v: got %v, want ErrForeign", what, catalog, err)
			}
		}
	}
}

// TestHugeCatalog opens catalogs that claim more messages than there are, and checks how
// much memory reading them takes.
func TestHugeCatalog(t *testing.T) {
	for what, damage := range map[string]func(c *catalog) error{
		"sparse": func(c *catalog) error {
			return errors.Join(unix.Ftruncate(c.fd, 2<<30), c.commit(record{id: 1 << 21, files: 1}, 0))
		},
		"high count": func(c *catalog) error { return c.commit(record{id: 1<<32 - 1, files: 1}, 0) },
	} {
		s := newTestStore(t, Options{})
		if _, err := s.AddNamed("a", devNull(t)); err != nil {
			t.Fatal(err)
		}
		if err := damage(s.catalog); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		o := opened(t, s)
		for call, err := range map[string]error{
			"List": second(o.List()), "CopyTo": o.CopyTo(newTestStore(t, Options{})), "Verify": o.Verify(), "Get": second(o.Get(1 << 20)),
		} {
			if err == nil {
				t.Errorf("%s, %s: no error", what, call)
			}
		}
		var last error
		for _, last = range o.All() {
		}
		if last == nil {
			t.Errorf("%s: All ends without an error", what)
		}
		if _, err := o.Lookup("nobody"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: look up: %v, want ErrNotFound", what, err)
		}
		o.Len()
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<24 {
			t.Errorf("%s: %d bytes were allocated", what, used)
		}
	}
}

// TestForeignNames writes names with separators and invalid characters into a catalog.
func TestForeignNames(t *testing.T) {
	for _, name := range []string{"a:b", "a\nb", "\xff"} {
		s := newTestStore(t, Options{})
		if _, err := s.add(name, []int{int(devNull(t).Fd())}); err != nil { // not AddNamed, which checks
			t.Fatal(err)
		}
		o := opened(t, s)
		for what, err := range map[string]error{"List": second(o.List()), "CopyTo": o.CopyTo(newTestStore(t, Options{})), "Verify": o.Verify()} {
			if !errors.Is(err, ErrForeign) || !errors.Is(err, ErrBadName) {
				t.Errorf("%s of %q: got %v, want ErrForeign and ErrBadName", what, name, err)
			}
		}
	}
}

// TestDamagedIndex sets the link of a name to wrong records.
func TestDamagedIndex(t *testing.T) {
	s := newTestStore(t, Options{})
	for _, name := range []string{"", "a", "b"} {
		if _, err := s.add(name, []int{int(devNull(t).Fd())}); err != nil {
			t.Fatal(err)
		}
	}
	link := catalogLinks + 4*int64(hashName(s.number, "a")%catalogBuckets)
	for to, want := range map[uint32]error{
		0:                                ErrNotFound,
		1:                                ErrForeign,  // into the head
		catalogStart / recordUnit:        ErrForeign,  // has no name
		1 << 31:                          ErrForeign,  // beyond the end
		(catalogStart + 40) / recordUnit: ErrNotFound, // another name, whose own links are followed
		(catalogStart + 8) / recordUnit:  nil,
	} {
		if err := s.catalog.writeAt([]byte{byte(to), byte(to >> 8), byte(to >> 16), byte(to >> 24)}, link); err != nil {
			t.Fatal(err)
		}
		if _, err := opened(t, s).Lookup("a"); !errors.Is(err, want) {
			t.Errorf("link %d: got %v, want %v", to, err, want)
		}
	}
}

// TestManyNames looks up names among many.
func TestManyNames(t *testing.T) {
	const n = 3_000
	s := newTestStore(t, Options{})
	f := devNull(t)
	for i := range n {
		if _, err := s.AddNamed(fmt.Sprint("service/", i), f); errors.Is(err, ErrInFlight) {
			skip(t, err.Error())
		} else if err != nil {
			t.Fatal(err)
		}
	}
	o := opened(t, s)
	for range 2000 {
		i := rand.N(n)
		if id, err := o.Lookup(fmt.Sprint("service/", i)); err != nil || id != ID(i) {
			t.Fatalf("name %d: %d, %v", i, id, err)
		}
	}
	if _, err := o.Lookup("service/-1"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if e, err := o.List(); err != nil || len(e) != n || e[n-1].Name != fmt.Sprint("service/", n-1) {
		t.Errorf("%d entries, %v", len(e), err)
	}
	if err := o.Verify(); err != nil {
		t.Error(err)
	}
}

// TestAddNotices changes a queue as another holder could, so that later messages cannot
// be got. Add must fail.
func TestAddNotices(t *testing.T) {
	for what, spoil := range map[string]func(fd int) error{
		"a stray message": func(fd int) error { return unix.Sendto(fd, make([]byte, wire.PayloadSize), unix.MSG_DONTWAIT, nil) },
		"a short one":     func(fd int) error { return unix.Sendto(fd, make([]byte, 1), unix.MSG_DONTWAIT, nil) },
		"a plain recv": func(fd int) error {
			_, _, err := unix.Recvfrom(fd, make([]byte, wire.PayloadSize), unix.MSG_DONTWAIT)
			return err
		},
		"one of each": func(fd int) error {
			_, _, err := unix.Recvfrom(fd, make([]byte, wire.PayloadSize), unix.MSG_DONTWAIT)
			return errors.Join(err, unix.Sendto(fd, make([]byte, 1), unix.MSG_DONTWAIT, nil))
		},
	} {
		for _, n := range []int{0, 40, 97} {
			for _, layout := range []Layout{Nested, Flat} {
				s := newTestStore(t, Options{Layout: layout})
				addMany(t, s, n)
				if err := s.Verify(); err != nil {
					t.Fatal(err)
				}
				fd := s.FD()
				if layout == Nested && n > 32 && s.writer.Load().open[0].word != 0 {
					fd = s.writer.Load().open[0].fd
				}
				if err := spoil(fd); err != nil {
					t.Fatal(err)
				}
				var err error
				added := 0
				for limit := n + wire.ShardSize + 1; err == nil && added <= limit; added++ {
					_, err = s.Add(devNull(t))
				}
				if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrContended) {
					t.Errorf("%s after %d, layout %d: %d more were added, then %v", what, n, layout, added, err)
				}
				if _, again := s.Add(devNull(t)); again == nil {
					t.Errorf("%s after %d, layout %d: the next add succeeds", what, n, layout)
				}
				if err := s.Seal(); !errors.Is(err, ErrForeign) && !errors.Is(err, ErrContended) {
					t.Errorf("%s after %d, layout %d: seal returns %v", what, n, layout, err)
				}
			}
		}
	}
}

func addMany(t *testing.T, s *Store, n int) {
	t.Helper()
	f := devNull(t)
	for range n {
		if _, err := s.Add(f); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoFilter checks that no filter can be attached to a socket of a store: it would
// silently drop messages.
func TestNoFilter(t *testing.T) {
	s := newTestStore(t, Options{})
	addMany(t, s, 40)
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	for _, fd := range []int{s.FD(), s.writer.Load().open[0].fd} {
		err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("attach a filter: %v, want EPERM", err)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 0); !errors.Is(err, unix.EPERM) {
			t.Errorf("unlock the filter: %v, want EPERM", err)
		}
	}
}

// TestVerify damages a message in the middle of a shard, and a name.
func TestVerify(t *testing.T) {
	s := newTestStore(t, Options{})
	addMany(t, s, 2200) // into a branch
	if err := errors.Join(s.Verify(), opened(t, s).Verify()); err != nil {
		t.Fatal(err)
	}
	bare := newTestStore(t, Options{WithoutCatalog: true})
	addMany(t, bare, 100)
	if err := errors.Join(bare.Verify(), opened(t, bare).Verify()); err != nil {
		t.Fatal(err)
	}
	var way way
	defer way.close()
	shard, err := way.to(s, s.layout.Place(200, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := unix.Recvfrom(shard, make([]byte, wire.PayloadSize), unix.MSG_DONTWAIT); err != nil {
		t.Fatal(err)
	}
	before := len(descriptors())
	for _, s := range []*Store{s, opened(t, s)} {
		if err := s.Verify(); !errors.Is(err, ErrForeign) && !errors.Is(err, ErrContended) {
			t.Errorf("verify after a message was received: %v", err)
		}
	}
	if after := len(descriptors()); after > before+6 { // for the opened store and its kept sockets
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestOpenLeavesStrangersAlone checks that Open does not change the peek offset of a
// socket that is not a store.
func TestOpenLeavesStrangersAlone(t *testing.T) {
	for _, offset := range []int{-1, 0, 4} {
		for what, messages := range map[string][]string{"empty": nil, "short": {"abcd", "efgh"}, "like a store's": {string(make([]byte, wire.PayloadSize)), "efgh"}} {
			fd := strangersSocket(t)
			for _, m := range messages {
				if err := unix.Sendto(fd, []byte(m), unix.MSG_DONTWAIT, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, offset); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(fd); !errors.Is(err, ErrNotStore) {
				t.Errorf("%s: %v, want ErrNotStore", what, err)
			}
			if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF); err != nil || got != offset {
				t.Errorf("%s: the peek offset is %d, it was %d (%v)", what, got, offset, err)
			}
		}
	}
	if _, err := open(newTestStore(t, Options{}).fd, 1); !errors.Is(err, ErrNotStore) {
		t.Errorf("another store's number: %v", err)
	}
}

// strangersSocket makes a socket that is connected to itself, but whose name is not that
// of a store.
func strangersSocket(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{}); err != nil { // the kernel chooses a name
		t.Fatal(err)
	}
	own, err := unix.Getsockname(fd)
	if err == nil {
		err = unix.Connect(fd, own)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestOtherName opens a store whose socket has another name than those of this package,
// as docs/fdstore-format.md allows.
func TestOtherName(t *testing.T) {
	root, file := strangersSocket(t), devNull(t)
	s := &Store{fd: root, layout: Flat, number: 7}
	for i, w := range []wire.Word{Flat.HeaderWord(0), Flat.Place(0, 1).Word} {
		if err := s.sendTo(&socket{fd: root}, w, []int{int(file.Fd())}[:i]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := opened(t, s).Get(0)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if !same(t, got, file) {
		t.Error("another file")
	}
}

// TestNotFoundWithoutCatalog gets messages that do not exist from a store without a
// catalog, while another process moves the peek offset, with and without their shard.
func TestNotFoundWithoutCatalog(t *testing.T) {
	s := newTestStore(t, Options{WithoutCatalog: true})
	addMany(t, s, 40)
	o := opened(t, s)
	mover := startHelper(t, s, "move", "300000")
	for _, id := range []ID{40, 41, 95, 96, 3000, 200_000} {
		for range 20 {
			if _, err := o.Get(id); !errors.Is(err, ErrNotFound) {
				t.Fatalf("message %d: %v, want ErrNotFound", id, err)
			}
		}
	}
	if f, err := o.Get(39); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	waitHelper(t, mover)
}

func TestUnknownLayout(t *testing.T) {
	if s, err := New(Options{Layout: 7}); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("make one: %v, %v", s, err)
	}
	fd, err := newSocket(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	s := &Store{number: 7}
	if err := s.sendTo(&socket{fd: fd}, Layout(7).HeaderWord(0), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(fd); !errors.Is(err, ErrNotStore) {
		t.Errorf("open one: %v, want ErrNotStore", err)
	}
}
