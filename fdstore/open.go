package fdstore

import (
	"errors"
	"fmt"
	"os"
	"reflect"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// Open attaches to a store that this process was given: an inherited descriptor
// of its root, or one received over a socket. The caller must not use fd any
// more: it belongs to the Store, is made close-on-exec, and is closed by
// [Store.Close]. After an error it is still the caller's.
//
// Such a Store gets, looks up and lists. It does not add or seal: one process
// counts the messages, the maker.
//
// Errors: [ErrNotStore], [ErrNoDescriptors], or what a system call says.
func Open(fd int) (*Store, error) {
	s, err := open(fd, 0)
	if err != nil {
		return nil, fmt.Errorf("fdstore: open descriptor %d: %w", fd, err)
	}
	return s, nil
}

// open attaches to the store with this number, 0 for any.
func open(fd int, number uint64) (*Store, error) {
	s := &Store{fd: fd}
	if err := s.attach(number); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Store) attach(number uint64) error {
	if err := looksLikeStore(s.fd); err != nil {
		return err
	}
	header, err := s.header()
	if err != nil {
		return err
	}
	if number != 0 && number != header.Number {
		s.came.close()
		return fmt.Errorf("%w: it is another store, with the number %016x", ErrNotStore, header.Number)
	}
	s.number = header.Number
	s.layout, _ = header.Word.ParseHeader()
	if header.Word.Files() > 0 {
		c, err := openCatalog(s.came.files[0])
		if err != nil {
			return err
		}
		s.catalog = *c
	}
	if _, err := unix.FcntlInt(uintptr(s.fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		s.catalog.close()
		return os.NewSyscallError("fcntl F_SETFD", err)
	}
	return nil
}

// looksLikeStore looks for a Unix datagram socket that is connected to itself.
func looksLikeStore(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if errors.Is(err, unix.ENOTSOCK) {
		return fmt.Errorf("%w: it is no socket", ErrNotStore)
	}
	if err != nil {
		return os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	own, err1 := unix.Getsockname(fd)
	peer, err2 := unix.Getpeername(fd)
	if kind != unix.SOCK_DGRAM || err1 != nil || err2 != nil {
		return fmt.Errorf("%w: it is no connected datagram socket", ErrNotStore)
	}
	if _, ok := own.(*unix.SockaddrUnix); !ok || !reflect.DeepEqual(own, peer) {
		return fmt.Errorf("%w: it is not connected to itself", ErrNotStore)
	}
	return nil
}

// header pulls the first message of the root. Neither number nor layout are
// known yet, so a header is taken for what it says it is.
func (s *Store) header() (wire.Payload, error) {
	for range wire.MaxTries {
		if err := setOffset(s.fd, 0); err != nil {
			return wire.Payload{}, err
		}
		n, flags, err := s.peek(s.fd)
		if errors.Is(err, ErrContended) {
			continue
		}
		if err != nil {
			return wire.Payload{}, err
		}
		p, whole := wire.ParsePayload(s.data[:n])
		files := len(s.came.files)
		switch {
		case !whole || !isHeader(p.Word):
		case flags&unix.MSG_CTRUNC != 0:
			s.came.close()
			return wire.Payload{}, ErrNoDescriptors
		case p.Word.Files() == files && files <= 1:
			return p, nil
		}
		s.came.close()
	}
	return wire.Payload{}, fmt.Errorf("%w: its first message is no header", ErrNotStore)
}

func isHeader(w wire.Word) bool {
	_, ok := w.ParseHeader()
	return ok
}
