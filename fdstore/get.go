//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Get returns the file of a message that has exactly one. The caller closes
// it. It is close-on-exec and shares offset and flags with the file that was
// added. Its name contains the ID.
//
// Errors: [ErrClosed], [ErrNotFound], [ErrGroup], [ErrNoDescriptors],
// [ErrContended], [ErrForeign]. After an error no descriptor is left.
func (s *Store) Get(id ID) (*os.File, error) {
	var one [1]int
	fds, err := s.pull(id, one[:0], true)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), fileName(id)), nil
}

// GetGroup returns all files of a message, 1 to [MaxGroup], in the order in
// which they were added. The caller closes each; see [Store.Get].
//
// Errors: those of [Store.Get] without [ErrGroup]. It returns all files or none.
func (s *Store) GetGroup(id ID) ([]*os.File, error) {
	fds, err := s.pull(id, nil, false)
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), fileName(id)+"."+strconv.Itoa(i))
	}
	return files, nil
}

// GetFDs is [Store.GetGroup] for bare descriptors, which it appends to dst: the
// caller closes them. It allocates nothing if dst has room.
//
// Errors: those of [Store.GetGroup]; then it returns dst unchanged.
func (s *Store) GetFDs(id ID, dst []int) ([]int, error) {
	return s.pull(id, dst, false)
}

// GetNamed is [Store.Lookup] and [Store.Get] in one. The file has the name under which
// it was added.
//
// Errors: those of both.
func (s *Store) GetNamed(name string) (*os.File, error) {
	id, err := s.Lookup(name)
	if err != nil {
		return nil, err
	}
	var one [1]int
	fds, err := s.pull(id, one[:0], true)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), name), nil
}

func fileName(id ID) string { return "fdstore:" + strconv.FormatUint(uint64(id), 10) }

// AddListener stores a listening socket under a name. It borrows l, which can be
// closed afterwards: clients that connect wait in the socket's queue until a process
// gets the socket and accepts them. If l is a [*net.UnixListener], its Close no longer
// removes the socket's path, so that clients can still connect.
//
// Errors: those of [Store.AddNamed], and [errors.ErrUnsupported] for a listener
// without a descriptor, such as that of crypto/tls: add the listener inside it.
func (s *Store) AddListener(name string, l net.Listener) (ID, error) {
	conn, ok := l.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("fdstore: add %q: a %T has no descriptor; add the listener inside it: %w", name, l, errors.ErrUnsupported)
	}
	id, err := s.AddNamed(name, conn)
	if err != nil {
		return 0, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	return id, nil
}

// Listener returns the listening socket that was added under a name. The caller
// closes it; closing removes no path.
//
// Errors: those of [Store.GetNamed], and that of [net.FileListener] for a file
// that is not a listening socket.
func (s *Store) Listener(name string) (net.Listener, error) {
	return fromFile(s, name, "listener", net.FileListener, true)
}

// PacketConn returns the packet socket (UDP, a Unix datagram socket) that was
// added under a name. The caller closes it.
//
// Errors: those of [Store.GetNamed], and that of [net.FilePacketConn] for a file
// that is not a packet socket.
func (s *Store) PacketConn(name string) (net.PacketConn, error) {
	return fromFile(s, name, "packet connection", net.FilePacketConn, false)
}

// fromFile makes a T of the file with a name. The T of package net has a descriptor of
// its own, so the file is closed.
func fromFile[T any](s *Store, name, what string, from func(*os.File) (T, error), listens bool) (got T, err error) {
	f, err := s.GetNamed(name)
	if err != nil {
		return got, err
	}
	defer f.Close()
	if listens {
		// net.FileListener accepts any stream socket, whose Accept would fail.
		err = checkListens(f)
	}
	if err == nil {
		got, err = from(f)
	}
	if err != nil {
		return got, fmt.Errorf("fdstore: use the file %q as a %s: %w", name, what, err)
	}
	return got, nil
}

func checkListens(f *os.File) error {
	listens, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err == nil && listens == 0 {
		err = unix.EINVAL
	}
	return os.NewSyscallError("getsockopt SO_ACCEPTCONN", err)
}
