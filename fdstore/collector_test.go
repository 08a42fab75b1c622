//go:build linux

package fdstore

import (
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// closes returns how long it takes to make and close a pair of Unix sockets: the
// shortest of many times.
func closes(t *testing.T) time.Duration {
	t.Helper()
	var took []time.Duration
	for range 100 {
		begin := time.Now()
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(pair[0])
		unix.Close(pair[1])
		took = append(took, time.Since(begin))
	}
	return slices.Min(took)
}

// TestCloseStaysFast checks that a large store does not make every close of a Unix socket
// on the machine slower. It did on Linux 5.10: 80 times with 10,000 files.
func TestCloseStaysFast(t *testing.T) {
	before := closes(t)
	s := newTestStore(t, Options{})
	f := devNull(t)
	for range 4_000 {
		if _, err := s.Add(f); errors.Is(err, ErrInFlight) {
			skip(t, err.Error())
		} else if err != nil {
			t.Fatal(err)
		}
	}
	with := closes(t)
	held := len(s.writer.Load().held)
	t.Logf("a pair of sockets: %v, with a store of 4,000 messages %v; it keeps %d full sockets open", before, with, held)
	if with > 10*before {
		t.Errorf("a pair of sockets takes %v, and %v with a store", before, with)
	}
	if (held > 0) != collectsInClose() {
		t.Errorf("the store keeps %d sockets open; the kernel collects in close: %v", held, collectsInClose())
	}
	// Check the result of collectsInClose against this kernel.
	for _, fd := range s.writer.Load().held {
		unix.Close(fd)
	}
	s.writer.Load().held = nil
	without := closes(t)
	t.Logf("without them: %v", without)
	if slow := without > 10*before; slow != collectsInClose() {
		t.Errorf("without them a pair takes %v, %v before; the kernel collects in close: %v", without, before, collectsInClose())
	}
}
