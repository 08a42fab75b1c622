//go:build linux

package fdstore

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// helpHang peeks at the store at descriptor 3 with a buffer whose page never arrives: no
// process serves the userfaultfd(2) of the page. It prints a line when the kernel waits
// for the page, with the socket's lock held. It runs until it is killed.
func helpHang([]string) error {
	page, uffd, err := missingPage()
	if err != nil {
		return err
	}
	go func() {
		if err := setOffset(3, 0); err != nil {
			fmt.Println(err)
		}
		_, _, _, err := recvmsg(3, page[:wire.PayloadSize], nil, unix.MSG_PEEK)
		fmt.Println("received:", err)
	}()
	fault := []unix.PollFd{{Fd: int32(uffd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fault, -1)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	fmt.Println("hanging")
	select {}
}

// missingPage maps a page whose faults are reported to a userfaultfd.
func missingPage() (page []byte, uffd int, err error) {
	const (
		api, register  = 0xc018aa3f, 0xc020aa00 // UFFDIO_API, UFFDIO_REGISTER
		version, modes = 0xaa, 1                // UFFD_API, UFFDIO_REGISTER_MODE_MISSING
	)
	r, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno != 0 {
		return nil, -1, needError{os.NewSyscallError("userfaultfd", errno).Error()}
	}
	hello := [3]uint64{version}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, r, api, uintptr(unsafe.Pointer(&hello))); errno != 0 {
		return nil, -1, needError{os.NewSyscallError("ioctl UFFDIO_API", errno).Error()}
	}
	page, err = unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, -1, err
	}
	span := [4]uint64{uint64(uintptr(unsafe.Pointer(&page[0]))), uint64(len(page)), modes}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, r, register, uintptr(unsafe.Pointer(&span))); errno != 0 {
		return nil, -1, os.NewSyscallError("ioctl UFFDIO_REGISTER", errno)
	}
	return page, int(r), nil
}

// TestHangingHolder has a holder that makes every get wait in the kernel. Methods that
// need no message of the socket must not wait.
func TestHangingHolder(t *testing.T) {
	before := descriptors()
	s := newTestStore(t, Options{})
	if _, err := s.AddNamed("a", devNull(t)); err != nil {
		t.Fatal(err)
	}
	cmd := newHelper(t, s, "hang")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "hanging\n" {
		if strings.HasSuffix(line, "\n") { // a needError has no newline
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		if cmd.ProcessState.ExitCode() == skipStatus {
			skip(t, line)
		}
		t.Fatalf("the helper printed %q", line)
	}
	got := make(chan error, 1)
	go func() {
		f, err := s.Get(0)
		if f != nil {
			f.Close()
		}
		got <- err
	}()
	for s.pulling.TryLock() { // until the goroutine is in its get
		s.pulling.Unlock()
		time.Sleep(time.Millisecond)
	}
	done := make(chan error, 1)
	go func() { done <- useBeside(s) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("methods that need no message wait for a hanging get")
	}
	select {
	case err := <-got:
		t.Errorf("the get did not hang: %v", err)
	default:
	}
	_ = errors.Join(cmd.Process.Kill(), cmd.Wait())
	if err := <-got; err != nil {
		t.Errorf("the get that hung: %v", err)
	}
	checkClosed(t, s, before)
}

// useBeside calls all methods that must not wait for a get.
func useBeside(s *Store) error {
	if s.FD() < 0 || s.Len() != 1 || s.Sealed() {
		return fmt.Errorf("descriptor %d, %d messages, sealed %v", s.FD(), s.Len(), s.Sealed())
	}
	_, err1 := s.Lookup("a")
	_, err2 := s.List()
	_, err3 := s.AddNamed("b", os.Stdin)
	file, err4 := s.File()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	file.Close()
	if err := s.Close(); err != nil || s.FD() != -1 {
		return fmt.Errorf("close: %w; descriptor %d", err, s.FD())
	}
	if _, err := s.Get(0); !errors.Is(err, ErrClosed) {
		return fmt.Errorf("get from a closed store: %w", err)
	}
	return nil
}

// checkClosed waits until the last call has closed the store's descriptors.
func checkClosed(t *testing.T, s *Store, before map[int]string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if now := descriptors(); now[s.fd] == before[s.fd] && now[s.catalog.fd] == before[s.catalog.fd] {
			return
		}
	}
	t.Error("the descriptors of a closed store are still open")
}
