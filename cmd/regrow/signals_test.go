package main

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestManyChildren sends a signal after more SIGCHLD than any channel holds, while
// nobody reads: it is not crowded out.
func TestManyChildren(t *testing.T) {
	s := catch()
	defer s.stop()
	for range 500 {
		if err := unix.Kill(os.Getpid(), unix.SIGCHLD); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Microsecond) // so that each is one of its own
	}
	if err := unix.Kill(os.Getpid(), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-s.c:
		if got != unix.SIGUSR1 {
			t.Errorf("got %v", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("SIGUSR1 is lost")
	}
	if len(s.child) != 1 {
		t.Errorf("%d SIGCHLD are kept, want 1", len(s.child))
	}
}
