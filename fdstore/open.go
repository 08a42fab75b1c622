//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// Open opens the store whose root is at a descriptor, which this process has inherited
// or received over a socket. The Store takes over fd: the caller must not use it any
// more, Open makes it close-on-exec, and [Store.Close] closes it. After an error fd
// still belongs to the caller.
//
// The Store can get, look up and list. It can add and seal only after [Store.Adopt],
// because one process at a time counts the messages, the writer.
//
// Errors: [ErrNotStore], [ErrNoDescriptors], or that of a system call.
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
	certain, err := isSelfConnected(s.fd)
	if err != nil {
		return err
	}
	// If the socket is not a store after all, it must stay unchanged for its owner.
	offset := 0
	if !certain {
		if offset, err = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF); err != nil {
			return os.NewSyscallError("getsockopt SO_PEEK_OFF", err)
		}
	}
	if err = s.readHeader(number, certain, offset >= 0); err == nil {
		_, err = unix.FcntlInt(uintptr(s.fd), unix.F_SETFD, unix.FD_CLOEXEC)
		err = os.NewSyscallError("fcntl F_SETFD", err)
	}
	if err == nil {
		return nil
	}
	if s.catalog != nil {
		s.catalog.close()
	}
	if !certain {
		_ = setsockopt(s.fd, unix.SO_PEEK_OFF, offset) // nothing can be done about an error
	}
	return err
}

// readHeader reads number, layout and catalog of the store. moved means that the peek
// offset must be set first, see findHeader.
func (s *Store) readHeader(number uint64, certain, moved bool) (err error) {
	header, taken := wire.Payload{}, false
	if certain {
		header, taken = s.takeHeader()
	}
	if !taken {
		if header, err = s.findHeader(moved); err != nil {
			return err
		}
	}
	layout, _ := header.Word.ParseHeader()
	switch {
	case number != 0 && number != header.Number:
		err = fmt.Errorf("%w: it is another store, with the number %016x", ErrNotStore, header.Number)
	case !layout.Known():
		err = fmt.Errorf("%w: its layout %d is unknown", ErrNotStore, layout)
	case header.Word.Files() > 1:
		err = fmt.Errorf("%w: its header carries %d files", ErrNotStore, header.Word.Files())
	}
	if err != nil {
		s.received.close()
		return err
	}
	s.number, s.layout = header.Number, layout
	if header.Word.Files() == 0 {
		return nil
	}
	if !taken {
		if err := s.fetchFrom(s.fd, header.Word); err != nil {
			return fmt.Errorf("its catalog: %w", err)
		}
	}
	var count uint64
	s.catalog, count, err = openCatalog(s.received.files[0], s.number)
	if count <= uint64(layout.Limit()) { // else refresh returns an error
		s.seen.Store(count)
	}
	return err
}

// isSelfConnected checks that fd is a Unix datagram socket that is connected to itself.
// certain means that its name is one of [New], which no other socket has by accident.
// Then its type is not checked, and its peek offset need not be restored.
func isSelfConnected(fd int) (certain bool, err error) {
	own, err1 := nameOf(fd, unix.SYS_GETSOCKNAME)
	if errors.Is(err1, unix.ENOTSOCK) {
		return false, fmt.Errorf("%w: it is not a socket", ErrNotStore)
	}
	peer, err2 := nameOf(fd, unix.SYS_GETPEERNAME)
	switch {
	case errors.Is(err1, unix.EBADF):
		return false, os.NewSyscallError("getsockname", err1)
	case err1 != nil || err2 != nil:
		return false, fmt.Errorf("%w: it is not a connected datagram socket", ErrNotStore)
	case own.name.Family != unix.AF_UNIX || own != peer:
		return false, fmt.Errorf("%w: it is not connected to itself", ErrNotStore)
	case own.has(namePrefix):
		return true, nil
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == nil && kind != unix.SOCK_DGRAM {
		err = fmt.Errorf("%w: it is not a connected datagram socket", ErrNotStore)
	}
	return false, err
}

// takeHeader pulls the first message of a root with its files, in one try. If it fails,
// because a holder has moved the offset or because no descriptor is free, findHeader
// reports why.
func (s *Store) takeHeader() (p wire.Payload, taken bool) {
	if setOffset(s.fd, 0) != nil {
		return p, false
	}
	n, flags, err := s.peek(s.fd)
	if err != nil {
		return p, false
	}
	p, whole := wire.ParsePayload(s.data[:n])
	if whole && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) == 0 && p.Word.Kind() == wire.Header && len(s.received.files) == p.Word.Files() {
		if _, ok := p.Word.ParseHeader(); ok {
			return p, true
		}
	}
	s.received.close()
	return p, false
}

// findHeader peeks at the first message of a root, without its files. Number and layout
// are not known yet, so any valid header is accepted. moved means that the socket has a
// peek offset, which must be set to 0; without one, a peek returns the first message and
// changes nothing.
func (s *Store) findHeader(moved bool) (wire.Payload, error) {
	for range wire.MaxTries {
		if moved {
			if err := setOffset(s.fd, 0); err != nil {
				return wire.Payload{}, err
			}
		}
		n, _, flags, err := peekAt(s.fd, s.data[:], nil)
		if errors.Is(err, errBeyond) {
			if size, err := queued(s.fd); err == nil && size == 0 {
				break
			}
			moved = true // a holder has set the offset
			continue
		}
		if err != nil {
			return wire.Payload{}, err
		}
		p, whole := wire.ParsePayload(s.data[:n])
		if !whole || flags&unix.MSG_TRUNC != 0 {
			break // not a message of a store
		}
		switch p.Word.Kind() {
		case wire.Header:
			if _, ok := p.Word.ParseHeader(); ok {
				return p, nil
			}
		case wire.Files, wire.Socket:
			moved = true // a holder has moved the offset to another message
			continue
		}
		break
	}
	return wire.Payload{}, fmt.Errorf("%w: its first message is not a header", ErrNotStore)
}
