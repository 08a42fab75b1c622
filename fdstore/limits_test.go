//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRecordLocks checks what the package comment says about POSIX record locks. If
// another process has moved the offset, a get receives the file of another message. This
// removes the record locks of this process on that inode; locks of the open file stay.
func TestRecordLocks(t *testing.T) {
	s := newTestStore(t, Options{})
	locked := memfd(t, "locked")
	if _, err := s.Add(locked); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(memfd(t, "wanted")); err != nil {
		t.Fatal(err)
	}
	fd := locked.Fd()
	posix := unix.Flock_t{Type: unix.F_WRLCK, Start: 0, Len: 1}
	ofd := unix.Flock_t{Type: unix.F_WRLCK, Start: 1, Len: 1}
	if err := errors.Join(unix.FcntlFlock(fd, unix.F_SETLK, &posix), unix.FcntlFlock(fd, unix.F_OFD_SETLK, &ofd)); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(); err != nil || !isLocked(t, fd, 0) {
		t.Fatalf("after Verify the lock is %v, %v", isLocked(t, fd, 0), err)
	}
	// A get of message 1, with the offset of message 0 set by another process
	// between its two calls.
	if err := setOffset(s.fd, s.layout.Place(0, 1).Word); err != nil {
		t.Fatal(err)
	}
	n, flags, err := s.peek(s.fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(s.layout.Place(1, 1).Word, n, flags); !errors.Is(err, errOtherMessage) {
		t.Fatal(err)
	}
	s.received.close()
	if isLocked(t, fd, 0) {
		t.Error("the record lock is still there: the package comment says that it is lost")
	}
	other, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if !isLocked(t, uintptr(other), 1) {
		t.Error("the lock of the open file is gone: the package comment says that it stays")
	}
}

// isLocked tries to lock one byte with a lock of the open file, which conflicts also with
// a record lock of the same process.
func isLocked(t *testing.T, fd uintptr, at int64) bool {
	t.Helper()
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1}
	if err := unix.FcntlFlock(fd, unix.F_OFD_GETLK, &l); err != nil {
		t.Fatal(err)
	}
	return l.Type != unix.F_UNLCK
}

// helpAllowance checks what the package comment says about a user's files in flight: if
// one program has stored many, another program with a lower limit cannot send any.
func helpAllowance([]string) error {
	if err := becomeNobody(); err != nil {
		return err
	}
	s, err := New(Options{})
	if err != nil {
		return err
	}
	if _, err := s.AddFDs(make([]int, 200)); err != nil { // standard input, 200 times
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = 100 // as if this were another program
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	pass := func() error { return unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(0), nil, unix.MSG_DONTWAIT) }
	if err := pass(); !errors.Is(err, unix.ETOOMANYREFS) {
		return fmt.Errorf("pass one descriptor while a store has 200: %w, want ETOOMANYREFS", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := pass()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
