//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// writer is the part of a Store that only the writer has.
type writer struct {
	bufferSize int          // Options.BufferSize
	count      atomic.Int64 // of the messages that were added

	mu       sync.Mutex
	root     socket
	open     [2]socket // the branch and the shard, or the shard, that are being filled
	held     []int     // full sockets that stay open, see collectsInClose
	most     int       // limit of messages; less than 0: none; 0: not decided yet
	why      string    // explains most in errors
	lock     int       // a descriptor of the catalog that has the writer's lock; -1: none
	sealed   bool
	resigned bool
	broken   error // a change of the queues by another holder, nil: none
}

// socket is the root, a shard or a branch; the zero value is none.
type socket struct {
	fd     int
	word   wire.Word // of the message that carries it, 0: it is the root
	sent   int       // messages
	last   wire.Word // of the message that was sent last, 0: none
	excess int       // bytes of memory beyond those of the sent messages
}

// close closes a shard or a branch if it is open. It ignores errors.
func (s *socket) close() {
	if s.word != 0 {
		_ = unix.Close(s.fd)
		*s = socket{}
	}
}

func (w *writer) close() {
	for i := range w.open {
		w.open[i].close()
	}
	for _, fd := range w.held {
		_ = unix.Close(fd)
	}
	w.held = nil
	if w.lock >= 0 {
		_ = unix.Close(w.lock)
		w.lock = -1
	}
}

// openWay returns the socket that a message belongs into, and makes nested sockets that
// do not exist yet. After an error the messages of the store are unchanged.
// Preconditions: writer.mu is held.
func (s *Store) openWay(w *writer, p wire.Place) (to *socket, err error) {
	to = &w.root
	for i, word := range p.Way[:p.Depth] {
		if w.open[i].word != word {
			if err := s.finish(w, i); err != nil {
				return nil, err
			}
			fd, err := s.nest(w, to, word)
			if err != nil {
				return nil, err
			}
			w.open[i] = socket{fd: fd, word: word}
		}
		to = &w.open[i]
	}
	return to, nil
}

// nestedBuffer has space for all messages of a shard or a branch, also if a kernel needs
// twice 768 bytes for each.
const nestedBuffer = 2 * 768 * max(wire.ShardSize, wire.BranchSize)

// nest makes a socket and stores it in another one.
func (s *Store) nest(w *writer, in *socket, word wire.Word) (int, error) {
	size := w.bufferSize
	if size > 0 { // else the maximum
		size = max(size, nestedBuffer)
	}
	fd, err := newSocket(size, nil)
	if err == nil {
		if err = s.sendTo(in, word, []int{fd}); err == nil {
			// This also checks the queue of the root or the branch.
			if err = s.checkMessage(in.fd, word); err == nil {
				return fd, nil
			}
			w.broken = err
		}
		_ = unix.Close(fd)
	}
	return -1, fmt.Errorf("make another socket for the store: %w", err)
}

// finish seals the open sockets from the given depth on and closes their descriptors:
// messages carry them.
func (s *Store) finish(w *writer, depth int) error {
	for i := depth; i < len(w.open); i++ {
		o := &w.open[i]
		if o.word == 0 {
			continue
		}
		if err := unix.Shutdown(o.fd, unix.SHUT_WR); err != nil {
			return os.NewSyscallError("shutdown", err)
		}
		if w.broken == nil {
			w.broken = s.checkLast(o)
		}
		w.release(o)
	}
	return w.broken
}

// release closes a full socket, or keeps it open, see collectsInClose.
func (w *writer) release(o *socket) {
	if collectsInClose() && len(w.held) < mostHeld() {
		w.held = append(w.held, o.fd)
		*o = socket{}
		return
	}
	o.close()
}

// checkLast checks the position of the last message that was sent to a socket. If it is
// right, so are those of the messages before.
func (s *Store) checkLast(o *socket) error {
	if o.last == 0 {
		return nil
	}
	return s.checkMessage(o.fd, o.last)
}

// sendTo sends one message to a socket of the store.
func (s *Store) sendTo(to *socket, w wire.Word, fds []int) error {
	data := wire.Payload{Number: s.number, Word: w}.Append(make([]byte, 0, wire.PayloadSize))
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	err := ignoringEINTR(func() error {
		_, err := unix.SendmsgN(to.fd, data, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return err
	})
	if err != nil {
		return sendError(err, to.fd, w, fds)
	}
	to.sent++
	to.last = w
	return nil
}

// checkSent checks that the message that was sent last can be got. If another holder
// has sent a message of its own, or received one, all later messages are at wrong
// positions.
//
// The memory of all messages in a queue is cheap to read, and tells whether the queue
// has as many messages as were sent. Only if not, checkSent peeks at the message. A
// change that leaves the number the same is detected when a socket is full. In a [Flat]
// store, whose whole queue a peek must walk, it is detected when the number of messages
// has doubled.
func (s *Store) checkSent(to *socket, word wire.Word) error {
	size, err := queued(to.fd)
	if err != nil {
		return err
	}
	off := size - to.sent*messageMemory()
	doubled := s.layout == Flat && to.sent&(to.sent-1) == 0
	if off == to.excess && !doubled {
		return nil
	}
	if err := s.checkMessage(to.fd, word); err != nil {
		return fmt.Errorf("another holder has changed the queue: %w", err)
	}
	to.excess = off
	return nil
}

// Seal makes the store immutable, for all processes. It seals the catalog, see
// memfd_create(2), and then every socket by shutdown(SHUT_WR), see shutdown(2). Gets
// still work. Sealing again does nothing.
//
// Errors: [ErrClosed], [ErrReadOnly]; EBUSY while another holder has a writable
// mapping of the catalog: then the store is not sealed, and Seal can be tried again.
// [ErrForeign] or [ErrContended] mean that the store is sealed, but that another holder
// has changed its queues, so that some messages cannot be got.
func (s *Store) Seal() error {
	if err := s.seal(); err != nil {
		return fmt.Errorf("fdstore: seal: %w", err)
	}
	return nil
}

func (s *Store) seal() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	w := s.writer.Load()
	if w == nil {
		return ErrReadOnly
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resigned {
		return ErrReadOnly
	}
	if w.sealed {
		return w.broken
	}
	if s.catalog != nil {
		if err := s.catalog.seal(); err != nil {
			return err
		}
	}
	// Full sockets were sealed when the next one was made.
	if err := s.finish(w, 0); err != nil && w.broken == nil {
		return err
	}
	if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
		return os.NewSyscallError("shutdown", err)
	}
	if w.broken == nil {
		w.broken = s.checkLast(&w.root)
	}
	w.sealed = true
	return w.broken
}

// Sealed reports whether the store is sealed, so that no process can add to it. Any
// holder may ask. For a closed Store it is false.
func (s *Store) Sealed() bool {
	if s.enter() != nil {
		return false
	}
	defer s.leave()
	return (s.catalog == nil || s.catalog.sealed()) && errors.Is(trySend(s.fd), unix.EPIPE)
}
