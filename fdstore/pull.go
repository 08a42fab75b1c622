//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// pull appends the descriptors of message id to dst; the caller closes them. After
// an error it returns dst unchanged. single refuses messages with more than one file.
func (s *Store) pull(id ID, dst []int, single bool) ([]int, error) {
	got, err := s.pullOne(id, dst, single)
	if err != nil {
		return dst, fmt.Errorf("fdstore: get message %d: %w", id, err)
	}
	return got, nil
}

func (s *Store) pullOne(id ID, dst []int, single bool) ([]int, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	exists, certain, err := s.exists(id)
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("%w: the store has %d", ErrNotFound, s.Len())
	}
	s.pulling.Lock()
	defer s.pulling.Unlock()
	files := 0 // any number
	if single {
		files = 1
	}
	err = s.fetch(s.layout.Place(id, files))
	if errors.Is(err, errRemoved) && !certain {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return append(dst, s.received.files...), nil
}

// exists reports whether there is a message with this ID, and whether that is certain.
// Without a catalog it only means that the layout allows the ID. Preconditions: the
// Store is entered.
func (s *Store) exists(id ID) (exists, certain bool, err error) {
	switch w := s.writer.Load(); {
	case w != nil:
		return int64(id) < w.count.Load(), true, nil
	case s.catalog == nil:
		return uint64(id) < uint64(s.layout.Limit()), false, nil
	case uint64(id) >= s.seen.Load():
		err = s.refresh()
	}
	return uint64(id) < s.seen.Load(), true, err
}

// fetch pulls the files of a message into s.received, through nested sockets. If the
// descriptor table is full, it closes the kept sockets and tries again.
func (s *Store) fetch(p wire.Place) error {
	err := s.fetchThrough(p)
	if errors.Is(err, ErrNoDescriptors) && s.kept.drop() {
		err = s.fetchThrough(p)
	}
	return err
}

func (s *Store) fetchThrough(p wire.Place) error {
	from := s.fd
	for i, w := range p.Way[:p.Depth] {
		next := s.kept.find(w)
		if next < 0 {
			if err := s.fetchFrom(from, w); err != nil {
				return fmt.Errorf("nested socket %d of %d: %w", i+1, p.Depth, err)
			}
			next = s.received.files[0]
			s.kept.keep(w, next)
		}
		from = next
	}
	return s.fetchFrom(from, p.Word)
}

// fetchFrom pulls a message from one socket, and retries if others interfere.
func (s *Store) fetchFrom(from int, w wire.Word) error {
	return retry(from, w, func() error { return s.tryPull(from, w) })
}

// retry repeats once until no other process moves the peek offset between its two calls.
// It gives up after [wire.MaxTries], or if the queue ends before the message.
func retry(from int, w wire.Word, once func() error) error {
	for try := 1; ; try++ {
		err := once()
		if err == nil || !errors.Is(err, ErrContended) && !errors.Is(err, ErrForeign) {
			return err
		}
		if try%wire.EagerTries == 0 && errors.Is(err, errBeyond) && ends(from, w) {
			return errRemoved
		}
		if try == wire.MaxTries {
			return fmt.Errorf("%d tries: %w", try, err)
		}
		if try%wire.EagerTries == 0 {
			time.Sleep(rand.N(wire.MaxWait)) //nolint:forbidigo // backoff: the kernel has no event for this
		}
	}
}

// ends reports whether a queue ends before a message.
func ends(fd int, w wire.Word) bool {
	size, err := queued(fd)
	one := messageMemory()
	return err == nil && one > 0 && size <= int(w.Position())*one
}

// queued returns the memory of the messages that were sent from a socket and are not
// received yet, in bytes of its send buffer (SIOCOUTQ, see tcp(7)).
func queued(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return n, os.NewSyscallError("ioctl SIOCOUTQ", err)
}

// messageMemory returns the memory of one message, in the same bytes. All messages have
// the same size. 0 means that it could not be measured.
func messageMemory() int {
	if n := messageSize.Load(); n > 0 {
		return int(n)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := unix.Sendto(pair[0], make([]byte, wire.PayloadSize), unix.MSG_DONTWAIT, nil); err != nil {
		return 0
	}
	n, err := queued(pair[0])
	if err != nil {
		return 0
	}
	messageSize.Store(int64(n))
	return n
}

var messageSize atomic.Int64

// Errors of a try if another process has moved the peek offset, or has changed the
// queue. They are made once, because a try must be cheap.
var (
	errBeyond       = fmt.Errorf("%w: the offset was beyond the queue: %w", ErrContended, os.NewSyscallError("recvmsg", unix.EAGAIN))
	errRemoved      = fmt.Errorf("%w: its queue is shorter: a holder has received messages", ErrContended)
	errOtherMessage = fmt.Errorf("%w: the offset was that of another message", ErrContended)
	errWrongCount   = fmt.Errorf("%w: it has another number of files than was added", ErrForeign)
)

// tryPull peeks once. Without an error s.received has the files of the message. After an
// error everything that was received is closed. Preconditions: s.pulling is held.
func (s *Store) tryPull(from int, w wire.Word) error {
	if err := setOffset(from, w); err != nil {
		return err
	}
	n, flags, err := s.peek(from)
	if err != nil {
		return err
	}
	err = s.check(w, n, flags)
	if err != nil {
		s.received.close()
	}
	return err
}

func setOffset(fd int, w wire.Word) error {
	return os.NewSyscallError("setsockopt SO_PEEK_OFF", setsockopt(fd, unix.SO_PEEK_OFF, int(w.Offset())))
}

// peek receives n bytes of data into s.data, and all descriptors of the message into
// s.received. It may be another message, if another process has moved the offset.
func (s *Store) peek(from int) (n, flags int, err error) {
	n, oobn, flags, err := peekAt(from, s.data[:], s.oob[:])
	if err != nil {
		return 0, 0, err
	}
	s.received.parse(s.oob[:oobn])
	s.received.closeStrays()
	return n, flags, nil
}

func peekAt(from int, data, oob []byte) (n, oobn, flags int, err error) {
	err = ignoringEINTR(func() (err error) {
		n, oobn, flags, err = recvmsg(from, data, oob, unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if errors.Is(err, unix.EAGAIN) {
		err = errBeyond
	} else {
		err = os.NewSyscallError("recvmsg", err)
	}
	return n, oobn, flags, err
}

// check compares the received message with the expected one. It checks the payload
// before MSG_CTRUNC: a wrong message may be too large for the descriptor table although
// the expected one fits.
func (s *Store) check(w wire.Word, n, flags int) error {
	p, err := s.checkPayload(w, s.data[:n], flags)
	switch files := p.Word.Files(); {
	case err != nil:
		return err
	case w.Kind() == wire.Files && w.Files() == 1 && files > 1:
		return fmt.Errorf("%w: %d", ErrGroup, files)
	case w.Files() > 0 && p.Word != w:
		return errWrongCount
	case flags&unix.MSG_CTRUNC != 0:
		return fmt.Errorf("%w: %d of %d fit; the soft RLIMIT_NOFILE is %s", ErrNoDescriptors, len(s.received.files), files, softNoFile())
	case files == 0 && w.Kind() != wire.Header, len(s.received.files) != files:
		return errWrongCount
	}
	return nil
}

// checkPayload checks that data is the payload of the message at w, with any number of
// files.
func (s *Store) checkPayload(w wire.Word, data []byte, flags int) (wire.Payload, error) {
	p, whole := wire.ParsePayload(data)
	switch {
	case !whole, flags&unix.MSG_TRUNC != 0, p.Number != s.number:
		return p, ErrForeign
	case p.Word.Where() != w.Where():
		return p, errOtherMessage
	}
	return p, nil
}

// checkMessage checks that the message at w is at its position, without receiving its
// files. It does not wait for gets of this process.
func (s *Store) checkMessage(from int, w wire.Word) error {
	return retry(from, w, func() error {
		var data [wire.PayloadSize]byte
		if err := setOffset(from, w); err != nil {
			return err
		}
		n, _, flags, err := peekAt(from, data[:], nil)
		if err != nil {
			return err
		}
		p, err := s.checkPayload(w, data[:n], flags)
		// Without space for files the kernel only tells whether there are any.
		some := flags&unix.MSG_CTRUNC != 0
		if err == nil && (p.Word.Files() > 0 != some || !some && w.Kind() != wire.Header) {
			err = errWrongCount
		}
		return err
	})
}
