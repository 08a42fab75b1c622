//go:build linux

package fdstore

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// TestSealShutsAll pulls every socket of a sealed store and tries to send.
func TestSealShutsAll(t *testing.T) {
	s := newTestStore(t, Options{})
	f := devNull(t)
	const n = 2084 // the last ones are in the first shard of the first branch
	for range n {
		if _, err := s.Add(f); errors.Is(err, ErrInFlight) {
			skip(t, err.Error())
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []ID{32, 95, 96, 2079, n - 1} {
		p := s.layout.Place(id, 1)
		from := s.fd
		for _, w := range p.Way[:p.Depth] {
			if err := s.fetchFrom(from, w); err != nil {
				t.Fatal(err)
			}
			from = s.received.files[0]
			defer unix.Close(from)
			err := unix.Sendmsg(from, make([]byte, wire.PayloadSize), nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if !errors.Is(err, unix.EPIPE) {
				t.Errorf("message %d: sending to its nested socket: %v, want EPIPE", id, err)
			}
		}
	}
	if err := unix.Sendmsg(s.FD(), make([]byte, wire.PayloadSize), nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); !errors.Is(err, unix.EPIPE) {
		t.Errorf("sending to the root: %v, want EPIPE", err)
	}
}

// collect makes the kernel collect unreachable sockets: it does so when a Unix socket is
// closed while files are in flight (net/unix/garbage.c).
func collect(t *testing.T) {
	t.Helper()
	for range 3 {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(pair[0])
		unix.Close(pair[1])
	}
}

// stored makes a pair of sockets, stores one end and returns the other.
func stored(t *testing.T, s *Store) (end *os.File, id ID) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	id, err = s.AddFDs(pair[1:])
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(pair[1])
	end = os.NewFile(uintptr(pair[0]), "end")
	t.Cleanup(func() { end.Close() })
	return end, id
}

// TestSocketsInStores checks that Unix sockets in a store, in the root and in shards,
// alone and in cycles, live exactly as long as the store.
func TestSocketsInStores(t *testing.T) {
	for name, cycle := range map[string]func(t *testing.T, s, other *Store){
		"no cycle":            func(*testing.T, *Store, *Store) {},
		"the store in itself": func(t *testing.T, s, _ *Store) { putInto(t, s, s) },
		"each in the other":   func(t *testing.T, s, other *Store) { putInto(t, s, other); putInto(t, other, s) },
	} {
		t.Run(name, func(t *testing.T) {
			s, other := newTestStore(t, Options{}), newTestStore(t, Options{})
			var ends []*os.File
			var ids []ID
			for range 80 {
				end, id := stored(t, s)
				ends, ids = append(ends, end), append(ids, id)
			}
			cycle(t, s, other)
			collect(t)
			for i, id := range ids {
				f, err := s.Get(id)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteString("x"); err != nil {
					t.Fatal(err)
				}
				f.Close()
				if n, err := ends[i].Read(make([]byte, 8)); n != 1 || err != nil {
					t.Fatalf("socket %d: %d bytes, %v", i, n, err)
				}
			}
			closeStore(t, s)
			closeStore(t, other)
			for i, end := range ends {
				if !ended(t, end) {
					t.Fatalf("socket %d lives although the stores are closed", i)
				}
			}
		})
	}
}

func putInto(t *testing.T, what, into *Store) {
	t.Helper()
	if _, err := into.AddFDs([]int{what.FD()}); err != nil {
		t.Fatal(err)
	}
}

// ended reports whether the other end of a socket is closed. It waits, because the kernel
// may collect cycles later.
func ended(t *testing.T, end *os.File) bool {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		// The queue is empty, so any result but EAGAIN is end of file.
		if _, _, err := unix.Recvfrom(int(end.Fd()), make([]byte, 1), unix.MSG_DONTWAIT); err == nil {
			return true
		}
		collect(t)
		time.Sleep(time.Millisecond) // the kernel has no event for a collection
	}
	return false
}

// TestListener stores a listener of package net, gets it, and accepts a connection.
func TestListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newTestStore(t, Options{})
	if _, err := s.AddNamed("listener", l.(*net.TCPListener)); err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	id, err := s.Lookup("listener")
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	again, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	go func() {
		if c, err := net.Dial("tcp", address); err == nil {
			_, _ = c.Write([]byte("hello"))
			c.Close()
		}
	}()
	c, err := again.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if text, err := io.ReadAll(c); string(text) != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
