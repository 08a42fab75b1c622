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
// an error dst is as it was. single refuses messages of more than one file.
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
	if errors.Is(err, errTaken) && !certain {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return append(dst, s.came.files...), nil
}

// exists reports whether there is a message with this ID, and whether that is
// certain: without a catalog only its queue can tell. Preconditions: the Store is
// entered.
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

// fetch leaves the files of a message in s.came, through the sockets on its way.
// A table that is full may be full of sockets that are kept only for speed.
func (s *Store) fetch(p wire.Place) error {
	err := s.fetchOnWay(p)
	if errors.Is(err, ErrNoDescriptors) && s.kept.drop() {
		err = s.fetchOnWay(p)
	}
	return err
}

func (s *Store) fetchOnWay(p wire.Place) error {
	from := s.fd
	for i, w := range p.Way[:p.Depth] {
		next := s.kept.find(w)
		if next < 0 {
			if err := s.fetchFrom(from, w); err != nil {
				return fmt.Errorf("socket %d of %d on the way: %w", i+1, p.Depth, err)
			}
			next = s.came.files[0]
			s.kept.keep(w, next)
		}
		from = next
	}
	return s.fetchFrom(from, p.Word)
}

// fetchFrom pulls a message from one socket, as often as it takes.
func (s *Store) fetchFrom(from int, w wire.Word) error {
	return retry(from, w, func() error { return s.tryPull(from, w) })
}

// retry tries to meet a message until others leave the offset alone for the time of
// two calls, and gives up where the queue ends before it.
func retry(from int, w wire.Word, once func() error) error {
	for try := 1; ; try++ {
		err := once()
		if err == nil || !errors.Is(err, ErrContended) && !errors.Is(err, ErrForeign) {
			return err
		}
		if try%wire.EagerTries == 0 && errors.Is(err, errBeyond) && ends(from, w) {
			return errTaken
		}
		if try == wire.MaxTries {
			return fmt.Errorf("%d tries: %w", try, err)
		}
		if try%wire.EagerTries == 0 {
			time.Sleep(rand.N(wire.MaxWait)) //nolint:forbidigo // backoff: nothing tells when others leave the offset alone
		}
	}
}

// ends reports whether a queue is so short that it does not reach a message.
func ends(fd int, w wire.Word) bool {
	size, err := queued(fd)
	one := messageMemory()
	return err == nil && one > 0 && size <= int(w.Position())*one
}

// queued returns how much memory the messages take that were sent from a socket and
// that nobody has received (SIOCOUTQ, see tcp(7)), in bytes of its send buffer.
func queued(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return n, os.NewSyscallError("ioctl SIOCOUTQ", err)
}

// messageMemory returns how much memory one message takes, in the same bytes. All
// have the same size. 0 means that it cannot be known now.
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

// What a try meets if another process has moved the peek offset, or worse.
// They are made once: a try must cost little.
var (
	errBeyond      = fmt.Errorf("%w: the offset was beyond the queue: %w", ErrContended, os.NewSyscallError("recvmsg", unix.EAGAIN))
	errTaken       = fmt.Errorf("%w: its queue is shorter: a holder has taken messages out", ErrContended)
	errSomeoneElse = fmt.Errorf("%w: the offset was that of another message", ErrContended)
	errWrongCount  = fmt.Errorf("%w: the number of its files is not what was added", ErrForeign)
)

// tryPull peeks once. Without error s.came.files are the files of the message,
// else nothing that was received is left open. Preconditions: s.pulling is held.
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
		s.came.close()
	}
	return err
}

func setOffset(fd int, w wire.Word) error {
	return os.NewSyscallError("setsockopt SO_PEEK_OFF", setsockopt(fd, unix.SO_PEEK_OFF, int(w.Offset())))
}

// peek receives n bytes of data into s.data and all descriptors that come with
// them into s.came. Others may have moved the offset meanwhile.
func (s *Store) peek(from int) (n, flags int, err error) {
	n, oobn, flags, err := peekAt(from, s.data[:], s.oob[:])
	if err != nil {
		return 0, 0, err
	}
	s.came.parse(s.oob[:oobn])
	s.came.closeStrays()
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

// check compares what peek received with what was asked for. MSG_CTRUNC comes after
// the payload: somebody else's group may be too large for a table in which
// ours has room.
func (s *Store) check(w wire.Word, n, flags int) error {
	p, err := s.ours(w, s.data[:n], flags)
	switch files := p.Word.Files(); {
	case err != nil:
		return err
	case w.Kind() == wire.Files && w.Files() == 1 && files > 1:
		return fmt.Errorf("%w: %d", ErrGroup, files)
	case w.Files() > 0 && p.Word != w:
		return errWrongCount
	case flags&unix.MSG_CTRUNC != 0:
		return fmt.Errorf("%w: %d of %d fit, the soft RLIMIT_NOFILE is %s", ErrNoDescriptors, len(s.came.files), files, softNoFile())
	case files == 0 && w.Kind() != wire.Header, len(s.came.files) != files:
		return errWrongCount
	}
	return nil
}

// ours says whether data is that of the message at w, with any number of files.
func (s *Store) ours(w wire.Word, data []byte, flags int) (wire.Payload, error) {
	p, whole := wire.ParsePayload(data)
	switch {
	case !whole, flags&unix.MSG_TRUNC != 0, p.Number != s.number:
		return p, ErrForeign
	case p.Word.Where() != w.Where():
		return p, errSomeoneElse
	}
	return p, nil
}

// look looks whether the message at w is where it belongs, without receiving its
// files. It waits for no get of this process.
func (s *Store) look(from int, w wire.Word) error {
	return retry(from, w, func() error {
		var data [wire.PayloadSize]byte
		if err := setOffset(from, w); err != nil {
			return err
		}
		n, _, flags, err := peekAt(from, data[:], nil)
		if err != nil {
			return err
		}
		p, err := s.ours(w, data[:n], flags)
		// Without room for files the kernel says only whether there are any.
		some := flags&unix.MSG_CTRUNC != 0
		if err == nil && (p.Word.Files() > 0 != some || !some && w.Kind() != wire.Header) {
			err = errWrongCount
		}
		return err
	})
}
