package main

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestManyChildren checks that a signal is not lost after more SIGCHLDs than any channel
// can buffer.
func TestManyChildren(t *testing.T) {
	s := catch()
	defer s.stop()
	for range 500 {
		if err := unix.Kill(os.Getpid(), unix.SIGCHLD); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Microsecond) // so that the kernel does not merge them
	}
	if err := unix.Kill(os.Getpid(), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-s.c:
		if got != unix.SIGUSR1 {
			t.Errorf("got %v", got)
		}
	case <-time.After(3 * time.Minute):
		t.Error("SIGUSR1 is lost")
	}
	if len(s.child) != 1 {
		t.Errorf("%d SIGCHLD are kept, want 1", len(s.child))
	}
}

// TestTermRule checks when a TERM insists, with times of its own.
func TestTermRule(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		name string
		at   []time.Duration
		want []bool
	}{
		{"one", []time.Duration{0}, []bool{false}},
		{"to the group, too", []time.Duration{0, 0, 999 * time.Millisecond}, []bool{false, false, false}},
		{"after a second", []time.Duration{0, second}, []bool{false, true}},
		{"after ten", []time.Duration{0, 10 * second}, []bool{false, true}},
		{"much later", []time.Duration{0, 10*second + 1}, []bool{false, false}},
		{"much later, and once more", []time.Duration{0, 11 * second, 11*second + 1, 12 * second}, []bool{false, false, false, true}},
		{"one after the other", []time.Duration{0, second / 2, second}, []bool{false, false, true}},
		{"within ten seconds of another one", []time.Duration{0, second / 2, 10*second + 1}, []bool{false, false, true}},
		{"again and again", []time.Duration{0, 2 * second, 4 * second, 12 * second}, []bool{false, true, true, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var rule termRule
			start := time.Now()
			for i, at := range c.at {
				after, insists := rule.insists(start.Add(at))
				if insists != c.want[i] {
					t.Errorf("TERM at %v: insists %v, want %v", at, insists, c.want[i])
				}
				if insists && after < sameRequest {
					t.Errorf("TERM at %v: %v after the first", at, after)
				}
			}
		})
	}
}

// TestNotice checks that a notice does not wait long for a reader that does not read.
func TestNotice(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	said := make(chan struct{})
	go func() {
		notice(w, "not read")
		close(said)
	}()
	select {
	case <-said:
	case <-time.After(time.Minute):
		t.Error("notice waits for a reader that does not read")
	}
}
