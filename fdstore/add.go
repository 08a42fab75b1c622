package fdstore

import (
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// File is anything that lends its descriptor for a call: an [*os.File], and the
// connections and listeners of package net. It is not read through a method Fd,
// which for files that Go made non-blocking (os.Pipe, sockets) sets the open file
// to blocking, for all who share it: such a file arrives non-blocking as it is.
type File = syscall.Conn

// Add stores one open file as a message of its own and returns its ID. It
// borrows f.
//
// Errors: [ErrClosed], [ErrSealed], [ErrFull], [ErrInFlight], [ErrCannotSend];
// [os.ErrClosed], [os.ErrInvalid] (nil) or EBADF for a file that is not open. A
// [*FileError] tells which one it was, where the kernel is at fault with one. After an error the store
// is as it was.
func (s *Store) Add(f File) (ID, error) { return s.AddGroup(f) }

// AddGroup stores 1 to [MaxGroup] open files as one message and returns its ID.
// [Store.GetGroup] returns them in the same order. The same file may come
// several times. It borrows the files.
//
// Errors: as [Store.Add], and [ErrTooMany].
func (s *Store) AddGroup(files ...File) (ID, error) { return s.addGroup("", files) }

func (s *Store) addGroup(name string, files []File) (ID, error) {
	if err := checkCount(len(files)); err != nil {
		return 0, err
	}
	var id ID
	err := borrow(files, make([]int, 0, len(files)), func(fds []int) (err error) {
		id, err = s.add(name, fds)
		return err
	})
	return id, err
}

// AddFDs is [Store.AddGroup] for bare descriptors, which it borrows: the caller
// keeps them open until it returns.
func (s *Store) AddFDs(fds []int) (ID, error) { return s.add("", fds) }

func (s *Store) add(name string, fds []int) (ID, error) {
	if err := checkCount(len(fds)); err != nil {
		return 0, err
	}
	for i, fd := range fds {
		// A larger number would lose its upper half on its way.
		if fd < 0 || fd > math.MaxInt32 {
			return 0, fmt.Errorf("fdstore: add: %w", &FileError{i, len(fds), fd, unix.EBADF})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := s.send(name, fds)
	if err != nil {
		return 0, fmt.Errorf("fdstore: add message %d: %w", len(s.catalog.records), err)
	}
	return id, nil
}

func checkCount(n int) error {
	if n < 1 || n > MaxGroup {
		return fmt.Errorf("fdstore: add: %w, not %d", ErrTooMany, n)
	}
	return nil
}

// send sends the next message. Preconditions: s.mu is held; 1 to MaxGroup fds.
func (s *Store) send(name string, fds []int) (ID, error) {
	_, taken := s.catalog.names[name]
	switch {
	case s.fd < 0:
		return 0, ErrClosed
	case !s.maker:
		return 0, ErrReadOnly
	case name != "" && s.catalog.file == nil:
		return 0, ErrNoCatalog
	case taken:
		return 0, fmt.Errorf("%w: %q", ErrNameTaken, name)
	case s.sealed:
		return 0, ErrSealed
	case len(s.catalog.records) >= s.layout.Limit():
		return 0, fmt.Errorf("%w: this layout reaches no further than %d messages", ErrFull, s.layout.Limit())
	}
	id := ID(len(s.catalog.records))
	place := s.layout.Place(id, len(fds))
	to, err := s.openWay(place)
	if err != nil {
		return 0, err
	}
	r := record{uint8(len(fds)), name}
	if err := s.catalog.write(r); err != nil {
		return 0, err
	}
	if err := s.sendTo(to, place.Word, fds); err != nil {
		return 0, err
	}
	return id, s.catalog.commit(r)
}

// openWay returns the socket that a message belongs into, and makes those on the
// way that do not exist yet. If that fails, what was added stays as it was.
func (s *Store) openWay(p wire.Place) (to int, err error) {
	to = s.fd
	for i, w := range p.Way[:p.Depth] {
		if s.open[i].word != w {
			if err := s.finish(i); err != nil {
				return -1, err
			}
			fd, err := s.nest(to, w)
			if err != nil {
				return -1, err
			}
			s.open[i] = socket{fd, w}
		}
		to = s.open[i].fd
	}
	return to, nil
}

// nestedBuffer has room for all messages of a shard or a branch, on kernels that
// take up to twice 768 bytes for one.
const nestedBuffer = 2 * 768 * max(wire.ShardSize, wire.BranchSize)

// nest makes a socket and stores it in another one.
func (s *Store) nest(in int, w wire.Word) (int, error) {
	size := s.bufferSize
	if size > 0 { // else as much as there is
		size = max(size, nestedBuffer)
	}
	fd, err := newSocket(size, nil)
	if err == nil {
		if err = s.sendTo(in, w, []int{fd}); err == nil {
			return fd, nil
		}
		_ = unix.Close(fd)
	}
	return -1, fmt.Errorf("another socket for the store: %w", err)
}

// sendTo sends one message to a socket of the store.
func (s *Store) sendTo(to int, w wire.Word, fds []int) error {
	data := wire.Payload{Number: s.number, Word: w}.Append(make([]byte, 0, wire.PayloadSize))
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	err := ignoringEINTR(func() error {
		_, err := unix.SendmsgN(to, data, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return err
	})
	if err != nil {
		return s.sendError(err, to, w, fds)
	}
	return nil
}

// borrow appends the descriptors of files to fds and calls use with them. No
// file can be closed before use returns: RawConn.Control holds it open for the
// length of a callback, so the callbacks are nested, one for each file.
func borrow(files []File, fds []int, use func(fds []int) error) error {
	if len(files) == 0 {
		return use(fds)
	}
	fail := func(err error) error {
		return fmt.Errorf("fdstore: add: file %d of %d: %w", len(fds)+1, len(fds)+len(files), err)
	}
	if files[0] == nil {
		return fail(os.ErrInvalid)
	}
	conn, err := files[0].SyscallConn()
	if err != nil {
		return fail(err)
	}
	var used error
	err = conn.Control(func(fd uintptr) { used = borrow(files[1:], append(fds, int(fd)), use) })
	if err != nil {
		// All that Control refuses is a closed file, with an error of
		// internal/poll that nobody can match.
		return fail(os.ErrClosed)
	}
	return used
}
