//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/test/interrupt"
)

// TestInterrupted interrupts each system call of a store once. All added files must be
// got, several times, and no peek may follow a failed setsockopt.
func TestInterrupted(t *testing.T) {
	calls := []uint32{unix.SYS_SETSOCKOPT, unix.SYS_RECVMSG, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_BIND, unix.SYS_CONNECT}
	cmd := newHelper(t, nil, "interrupted", t.TempDir())
	p, err := interrupt.Start(cmd, calls...)
	if err != nil {
		t.Fatal(err)
	}
	waitHelper(t, cmd)
	rep := p.Stop()
	for _, wrong := range rep.Wrong {
		t.Error(wrong)
	}
	for _, nr := range calls {
		if rep.Interrupted[nr] == 0 {
			t.Errorf("call %d was never interrupted", nr)
		}
	}
	t.Log(rep)
}

// helpInterrupted adds files, and gets them as the maker and as another holder.
func helpInterrupted(args []string) (err error) {
	const messages = 20
	// The listener matches calls by their thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	maker, err := New(Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, maker.Close()) }()
	for i := range messages {
		f, err := os.Create(fmt.Sprintf("%s/%d", args[0], i))
		if err != nil {
			return err
		}
		if _, err := f.WriteString(strconv.Itoa(i)); err != nil {
			return err
		}
		if _, err := maker.AddNamed("file "+strconv.Itoa(i), f, f); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	if err := maker.Seal(); err != nil {
		return err
	}
	fd, err := unix.FcntlInt(uintptr(maker.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	other, err := Open(fd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	for i := range messages {
		id, err := other.Lookup("file " + strconv.Itoa(i))
		if err != nil {
			return err
		}
		for _, s := range []*Store{maker, other} {
			if err := getsNumber(s, id, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// getsNumber gets a message of two files and reads the number in each.
func getsNumber(s *Store, id ID, want int) error {
	files, err := s.GetGroup(id)
	if err != nil {
		return err
	}
	for _, f := range files {
		var b [8]byte
		n, _ := f.ReadAt(b[:], 0)
		if err := f.Close(); err != nil {
			return err
		}
		if string(b[:n]) != strconv.Itoa(want) {
			return fmt.Errorf("message %d has %q, want %d", id, b[:n], want)
		}
	}
	if len(files) != 2 {
		return fmt.Errorf("message %d has %d files, want 2", id, len(files))
	}
	return nil
}
