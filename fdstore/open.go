//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// Open attaches to a store that this process was given: an inherited descriptor
// of its root, or one received over a socket. The caller must not use fd any
// more: it belongs to the Store, is made close-on-exec, and is closed by
// [Store.Close]. After an error it is still the caller's.
//
// Such a Store gets, looks up and lists. It adds and seals only after
// [Store.Adopt]: one process at a time counts the messages, the writer.
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
	certain, err := looksLikeStore(s.fd)
	if err != nil {
		return err
	}
	// It may still be somebody's socket that looks like a store: then nothing
	// may have changed for him.
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
		_ = setsockopt(s.fd, unix.SO_PEEK_OFF, offset) // nobody can tell it better
	}
	return err
}

// readHeader takes over number, layout and catalog of the store.
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
		err = fmt.Errorf("%w: its layout %d is not known here", ErrNotStore, layout)
	case header.Word.Files() > 1:
		err = fmt.Errorf("%w: its header carries %d files", ErrNotStore, header.Word.Files())
	}
	if err != nil {
		s.came.close()
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
	s.catalog, count, err = openCatalog(s.came.files[0], s.number)
	if count <= uint64(layout.Limit()) { // else whoever asks for the count is told
		s.seen.Store(count)
	}
	return err
}

// looksLikeStore looks for a Unix datagram socket that is connected to itself. certain
// says that its name is one that [New] gives, which nobody else has by accident: such a
// socket is read without a look at its type, and its peek offset is not put back.
func looksLikeStore(fd int) (certain bool, err error) {
	own, err1 := nameOf(fd, unix.SYS_GETSOCKNAME)
	if errors.Is(err1, unix.ENOTSOCK) {
		return false, fmt.Errorf("%w: it is no socket", ErrNotStore)
	}
	peer, err2 := nameOf(fd, unix.SYS_GETPEERNAME)
	switch {
	case errors.Is(err1, unix.EBADF):
		return false, os.NewSyscallError("getsockname", err1)
	case err1 != nil || err2 != nil:
		return false, fmt.Errorf("%w: it is no connected datagram socket", ErrNotStore)
	case own.name.Family != unix.AF_UNIX || own != peer:
		return false, fmt.Errorf("%w: it is not connected to itself", ErrNotStore)
	case own.has(namePrefix):
		return true, nil
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == nil && kind != unix.SOCK_DGRAM {
		err = fmt.Errorf("%w: it is no connected datagram socket", ErrNotStore)
	}
	return false, err
}

// takeHeader pulls the first message of a root with what it carries, in one try. What
// else it meets, because a holder has moved the offset or for want of descriptors,
// is for findHeader to tell.
func (s *Store) takeHeader() (p wire.Payload, taken bool) {
	if setOffset(s.fd, 0) != nil {
		return p, false
	}
	n, flags, err := s.peek(s.fd)
	if err != nil {
		return p, false
	}
	p, whole := wire.ParsePayload(s.data[:n])
	if whole && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) == 0 && p.Word.Kind() == wire.Header && len(s.came.files) == p.Word.Files() {
		if _, ok := p.Word.ParseHeader(); ok {
			return p, true
		}
	}
	s.came.close()
	return p, false
}

// findHeader looks at the first message of a root, without its files. Neither number
// nor layout are known yet, so a header is taken for what it says it is. moved says
// that the peek offset is set; without one, a peek is at the first message and
// moves nothing.
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
			moved = true // by a holder, meanwhile
			continue
		}
		if err != nil {
			return wire.Payload{}, err
		}
		p, whole := wire.ParsePayload(s.data[:n])
		if !whole || flags&unix.MSG_TRUNC != 0 {
			break // of no store
		}
		switch p.Word.Kind() {
		case wire.Header:
			if _, ok := p.Word.ParseHeader(); ok {
				return p, nil
			}
		case wire.Files, wire.Socket:
			moved = true // by a holder, who gets something else
			continue
		}
		break
	}
	return wire.Payload{}, fmt.Errorf("%w: its first message is no header", ErrNotStore)
}
