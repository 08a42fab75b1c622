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

// writer is what the process has that adds to a store.
type writer struct {
	bufferSize int          // as asked for
	count      atomic.Int64 // of the messages that were added

	mu       sync.Mutex
	root     socket
	open     [2]socket // those that are being filled, on the way to the last message
	held     []int     // sockets that are full, where the kernel wants them open
	most     int       // messages, less than 0: no bound, 0: not decided yet
	why      string    // most is what it is
	lock     int       // the catalog, opened once more: who has it locked is the writer; -1: there is none
	sealed   bool
	resigned bool
	broken   error // what another holder did to the queues, nil: nothing
}

// socket is the root, a shard or a branch; the zero value is none.
type socket struct {
	fd     int
	word   wire.Word // of the message that carries it, 0: it is the root
	sent   int       // messages
	last   wire.Word // of the message that was sent last, 0: none
	excess int       // by which its memory is off, although all messages are there
}

// close closes a shard or a branch that is open. There is no error to learn of.
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

// openWay returns the socket that a message belongs into, and makes those on the
// way that do not exist yet. If that fails, what was added stays as it was.
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

// nestedBuffer has room for all messages of a shard or a branch, on kernels that
// take up to twice 768 bytes for one.
const nestedBuffer = 2 * 768 * max(wire.ShardSize, wire.BranchSize)

// nest makes a socket and stores it in another one.
func (s *Store) nest(w *writer, in *socket, word wire.Word) (int, error) {
	size := w.bufferSize
	if size > 0 { // else as much as there is
		size = max(size, nestedBuffer)
	}
	fd, err := newSocket(size, nil)
	if err == nil {
		if err = s.sendTo(in, word, []int{fd}); err == nil {
			// The queue of the root, or of a branch, is checked here.
			if err = s.look(in.fd, word); err == nil {
				return fd, nil
			}
			w.broken = err
		}
		_ = unix.Close(fd)
	}
	return -1, fmt.Errorf("another socket for the store: %w", err)
}

// finish seals the sockets from the given depth on and lets go of their
// descriptors: others carry them.
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
			w.broken = s.lookAtLast(o)
		}
		w.letGo(o)
	}
	return w.broken
}

// letGo closes a socket that is full, or holds it, see collectsInClose.
func (w *writer) letGo(o *socket) {
	if collectsInClose() && len(w.held) < mostHeld() {
		w.held = append(w.held, o.fd)
		*o = socket{}
		return
	}
	o.close()
}

// lookAtLast looks whether the message that a shard or branch got last is at the
// place where it belongs: then so are those before it.
func (s *Store) lookAtLast(o *socket) error {
	if o.last == 0 {
		return nil
	}
	return s.look(o.fd, o.last)
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

// arrived looks whether the message that was sent last can be got. Another holder
// may have sent a message of its own, or received one: then everything behind it is
// not where it is looked for.
//
// The memory of all messages in a queue is cheap to ask for, and says whether as
// many are there as were sent; only where it does not, the queue is looked at. What
// leaves their number alone is seen when a socket is full, and in a [Flat] store,
// where looking takes as long as the queue is, whenever the number has doubled.
func (s *Store) arrived(to *socket, word wire.Word) error {
	size, err := queued(to.fd)
	if err != nil {
		return err
	}
	off := size - to.sent*messageMemory()
	doubled := s.layout == Flat && to.sent&(to.sent-1) == 0
	if off == to.excess && !doubled {
		return nil
	}
	if err := s.look(to.fd, word); err != nil {
		return fmt.Errorf("another holder has changed the queue: %w", err)
	}
	to.excess = off
	return nil
}

// Seal ends the adding, in all processes: first the catalog is sealed, see
// memfd_create(2), then every shard and the root by shutdown(SHUT_WR), see
// shutdown(2). Getting goes on. Sealing again does nothing.
//
// Errors: [ErrClosed], [ErrReadOnly]; EBUSY while another holder has a writable
// mapping of the catalog: then the store is not sealed, and Seal can be tried again.
// [ErrForeign] or [ErrContended] mean that it is sealed, but that another holder has
// changed its queues, so that not all can be got.
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
	// A full one was sealed when the next one was begun.
	if err := s.finish(w, 0); err != nil && w.broken == nil {
		return err
	}
	if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
		return os.NewSyscallError("shutdown", err)
	}
	if w.broken == nil {
		w.broken = s.lookAtLast(&w.root)
	}
	w.sealed = true
	return w.broken
}

// Sealed reports whether nothing can be added any more, by anybody: it asks the
// kernel, in the process of any holder. A closed store is not.
func (s *Store) Sealed() bool {
	if s.enter() != nil {
		return false
	}
	defer s.leave()
	return (s.catalog == nil || s.catalog.sealed()) && errors.Is(trySend(s.fd), unix.EPIPE)
}
