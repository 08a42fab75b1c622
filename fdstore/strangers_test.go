//go:build linux

package fdstore

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// stranger is a socket of a process that knows only a store's name.
func stranger(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestStrangersBetweenBindAndConnect(t *testing.T) {
	tests := []struct {
		name  string
		data  string
		times int
		want  error
	}{
		{"once", "evil", 1, nil},
		{"all but the last time", "evil", maxNames - 1, nil},
		{"always", "evil", maxNames, ErrForeign},
		{"an empty message", "", maxNames, ErrForeign},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, null := stranger(t), devNull(t)
			sent, names := 0, map[string]bool{}
			s, err := newStore(Options{}, func(name string) {
				names[name] = true
				if sent == tt.times {
					return
				}
				sent++
				rights := unix.UnixRights(int(null.Fd()))
				if err := unix.Sendmsg(from, []byte(tt.data), rights, &unix.SockaddrUnix{Name: name}, unix.MSG_DONTWAIT); err != nil {
					t.Errorf("the stranger could not send: %v", err)
				}
			})
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			defer closeStore(t, s)
			if len(names) != sent+1 {
				t.Errorf("%d names for %d tries", len(names), sent+1)
			}
			checkHolds(t, s, null)
		})
	}
}

// checkHolds adds f, gets it and compares both.
func checkHolds(t *testing.T, s *Store, f *os.File) {
	t.Helper()
	id, err := s.Add(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if !same(t, got, f) {
		t.Error("another file than was added")
	}
}

func TestStrangersAfterConnect(t *testing.T) {
	early, late := stranger(t), stranger(t)
	var name string
	s, err := newStore(Options{}, func(n string) {
		name = n
		if err := unix.Connect(early, &unix.SockaddrUnix{Name: n}); err != nil {
			t.Errorf("connect before: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil || !strings.Contains(string(b), name) {
		t.Errorf("name %s is not in /proc/net/unix: %v", name, err)
	}
	to := &unix.SockaddrUnix{Name: name}
	for what, err := range map[string]error{
		"send by one that connected before": unix.Sendto(early, []byte("x"), unix.MSG_DONTWAIT, nil),
		"send to the name":                  unix.Sendto(late, []byte("x"), unix.MSG_DONTWAIT, to),
		"connect to the name":               unix.Connect(late, to),
	} {
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v, want EPERM", what, err)
		}
	}
	checkHolds(t, s, devNull(t))
}

// TestStrangersOfAnotherUser has a process of another user try to add, to read, to
// replace the store and to take it over.
func TestStrangersOfAnotherUser(t *testing.T) {
	var name string
	s, err := newStore(Options{}, func(n string) { name = n })
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	waitHelper(t, startHelper(t, nil, "stranger", name, strconv.Itoa(os.Getpid()), strconv.Itoa(s.FD())))
	if s.Len() != 0 {
		t.Errorf("%d messages", s.Len())
	}
	checkHolds(t, s, devNull(t))
}

// TestHolderSpoils destroys a store as a holder can. Other holders must soon get errors,
// and no wrong file.
func TestHolderSpoils(t *testing.T) {
	recv := func(t *testing.T, s *Store) {
		if _, _, err := unix.Recvfrom(s.FD(), make([]byte, wire.PayloadSize), unix.MSG_DONTWAIT); err != nil {
			t.Fatal(err)
		}
	}
	send := func(t *testing.T, s *Store, data string, fds ...int) {
		if err := unix.Sendmsg(s.FD(), []byte(data), unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		spoil func(t *testing.T, s *Store)
		want  error
	}{
		{"all messages received", func(t *testing.T, s *Store) { recv(t, s); recv(t, s); recv(t, s) }, ErrContended},
		{"first message received", recv, ErrContended},
		{"other messages", func(t *testing.T, s *Store) {
			recv(t, s)
			recv(t, s)
			recv(t, s)
			for range 3 {
				send(t, s, strings.Repeat("evil", wire.PayloadSize/4), 0)
			}
		}, ErrForeign},
		{"longer messages", func(t *testing.T, s *Store) {
			recv(t, s)
			recv(t, s)
			recv(t, s)
			send(t, s, string(wire.Payload{Number: s.number, Word: 0}.Append(nil))+string(wire.Payload{Number: s.number, Word: 1}.Append(nil))+strings.Repeat("!", 2*wire.PayloadSize), 0)
		}, ErrForeign},
		{"number and position with other files", func(t *testing.T, s *Store) {
			recv(t, s)
			recv(t, s)
			recv(t, s)
			send(t, s, string(wire.Payload{Number: s.number, Word: Nested.HeaderWord(0)}.Append(nil)))
			for id := range ID(2) {
				send(t, s, string(wire.Payload{Number: s.number, Word: Nested.Place(id, 1).Word}.Append(nil)), 0, 1, 2)
			}
		}, ErrForeign},
		{"connected elsewhere", func(t *testing.T, s *Store) {
			other := stranger(t)
			to := &unix.SockaddrUnix{Name: "@" + t.Name() + time.Now().String()}
			if err := errors.Join(unix.Bind(other, to), unix.Connect(s.FD(), to)); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"disconnected, and filled by a stranger", func(t *testing.T, s *Store) {
			name, err := unix.Getsockname(s.FD())
			if err != nil {
				t.Fatal(err)
			}
			if err := disconnect(s.FD()); err != nil {
				t.Fatal(err)
			}
			from, null := stranger(t), devNull(t)
			for id := range ID(4) { // messages that are right except for the number
				data := wire.Payload{Number: s.number ^ 1, Word: Nested.Place(id, 1).Word}.Append(nil)
				if err := unix.Sendmsg(from, data, unix.UnixRights(int(null.Fd())), name, unix.MSG_DONTWAIT); err != nil {
					t.Fatalf("a stranger cannot send after AF_UNSPEC: %v", err)
				}
			}
		}, ErrForeign},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newTestStore(t, Options{})
			for range 2 {
				if _, err := s.Add(devNull(t)); err != nil {
					t.Fatal(err)
				}
			}
			tt.spoil(t, s)
			before := descriptors()
			start := time.Now()
			f, err := s.Get(1)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if f != nil {
				f.Close()
			}
			if d := time.Since(start); d > patience {
				t.Errorf("took %v", d)
			}
			if after := descriptors(); len(after) != len(before) {
				t.Errorf("descriptors before %v, after %v", before, after)
			}
			t.Log(err)
		})
	}
}

// TestPassedExtras sets options of the socket as a holder can. They add control messages
// and, with SO_PASSPIDFD, a descriptor that must be closed.
func TestPassedExtras(t *testing.T) {
	needDescriptors(t, MaxGroup+50)
	s := newTestStore(t, Options{})
	f := devNull(t)
	group := make([]int, MaxGroup)
	for i := range group {
		group[i] = int(f.Fd())
	}
	if err := unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1); err != nil {
		t.Logf("before Linux 6.5: %v", err)
	}
	id, err := s.AddFDs(group)
	if err != nil {
		t.Fatal(err)
	}
	before := len(descriptors())
	fds, err := s.pull(id, nil, false)
	if err != nil || len(fds) != MaxGroup {
		t.Fatalf("%d files, %v", len(fds), err)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	if after := len(descriptors()); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
