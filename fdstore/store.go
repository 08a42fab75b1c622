//go:build linux

package fdstore

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// Store is one process's end of a store: that of its writer, which adds and gets, or
// that of another holder, which gets. The writer is the maker, from [New], until
// somebody who has it from [Open] or [Inherited] calls [Store.Adopt].
//
// All methods are safe for concurrent use. Gets of one process wait for one
// another, and so do adds; no other method waits for either. Between processes
// nothing waits: each payload is checked. Only one process may add, since only it
// counts.
//
// A Store has no finalizer, because its descriptor is there to be lent: it
// lives until Close.
type Store struct {
	number   uint64
	layout   Layout
	fd       int                    // of the root, open until the last user has left
	life     life                   // of all descriptors here
	catalog  *catalog               // nil: the store has none
	writer   atomic.Pointer[writer] // nil: this process does not add
	lending  lending
	adopting sync.Mutex    // held while the writer changes
	seen     atomic.Uint64 // how many messages the catalog had when it was last asked

	// pulling is held while the kernel looks for a message, which it does for
	// as long as some other holder likes: see Limits in the package comment.
	// So nothing but a get may wait for it. It guards what follows, which is
	// kept here to allocate nothing each time.
	pulling sync.Mutex
	kept    kept
	data    [wire.PayloadSize]byte
	oob     [oobSize]byte
	came    control
}

// oobSize is more than the 1032 bytes of the largest group, so that MSG_CTRUNC
// can only mean that descriptors did not fit into the table. The rest is for
// what a holder may have switched on (SO_PASSCRED, SO_PASSPIDFD, SO_TIMESTAMP).
const oobSize = 2048

// New makes an empty store. The caller closes it.
//
// Errors: [ErrForeign] if strangers sent to the socket before it was connected,
// at each of several tries; [os.ErrInvalid] for a layout that does not exist; else
// what socket(2), bind(2), connect(2), setsockopt(2) or memfd_create(2) say.
func New(o Options) (*Store, error) { return newStore(o, nil) }

func newStore(o Options, afterBind func(name string)) (*Store, error) {
	if o.Layout == 0 {
		o.Layout = Nested
	}
	if !o.Layout.Known() {
		return nil, fmt.Errorf("fdstore: make a store: layout %d is neither Nested nor Flat: %w", o.Layout, os.ErrInvalid)
	}
	fd, err := newSocket(o.BufferSize, afterBind)
	if err != nil {
		return nil, fmt.Errorf("fdstore: make a store: %w", err)
	}
	s := &Store{fd: fd, number: newNumber(), layout: o.Layout}
	w := &writer{bufferSize: o.BufferSize, most: o.MaxMessages, root: socket{fd: fd}, lock: -1}
	s.writer.Store(w)
	if err := s.begin(w, o); err != nil {
		s.tearDown()
		return nil, fmt.Errorf("fdstore: make a store: %w", err)
	}
	return s, nil
}

// begin sends the header.
func (s *Store) begin(w *writer, o Options) error {
	var carried []int
	if !o.WithoutCatalog {
		c, err := newCatalog(s.number)
		if err != nil {
			return err
		}
		s.catalog = c
		carried = []int{c.fd}
	}
	if err := s.sendTo(&w.root, s.layout.HeaderWord(len(carried)), carried); err != nil || s.catalog == nil {
		return err
	}
	return s.catalog.lockFirst(w)
}

// newNumber returns any number but 0, so that a payload of zeros, as a buffer
// that was never written holds it, is no message of any store.
func newNumber() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails since Go 1.24
		if n := binary.NativeEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}

// Number returns the random number that stands in the payload of each message
// of this store, next to its position. It is never 0 and stays the same.
func (s *Store) Number() uint64 { return s.number }

// Layout returns where the messages of this store lie.
func (s *Store) Layout() Layout { return s.layout }

// FD lends the store's socket: the caller does not close it, and uses it no
// longer than the store is open. It is close-on-exec and non-blocking. -1 means
// that the store is closed.
//
// A process that receives it, by fork or in os/exec's ExtraFiles as a dup, is a
// holder: see the package comment for what that means. To give it to a command
// use [Store.AddToCmd].
func (s *Store) FD() int {
	if s.life.closed() {
		return -1
	}
	return s.fd
}

// Len returns how many messages were added: their IDs are 0 to Len()-1. A
// closed store keeps its count. -1 means that this is not the writer and that the
// store has no catalog.
func (s *Store) Len() int {
	switch w := s.writer.Load(); {
	case w != nil:
		return int(w.count.Load())
	case s.catalog == nil:
		return -1
	}
	if s.enter() == nil {
		_ = s.refresh() // what was read before is still true
		s.leave()
	}
	return int(s.seen.Load())
}

// refresh asks the catalog how many messages there are. Preconditions: there is
// one, and the Store is entered.
func (s *Store) refresh() error {
	n, err := s.catalog.count(s.layout)
	for old := s.seen.Load(); err == nil && n > old && !s.seen.CompareAndSwap(old, n); {
		old = s.seen.Load()
	}
	return err
}

// life counts who uses the descriptors of a Store, so that Close need not wait:
// the last user closes them.
type life struct {
	state atomic.Int64 // 2 for each user, and 1 once closed
	end   sync.Once
}

func (l *life) closed() bool { return l.state.Load()&1 != 0 }

// enter holds the descriptors open until leave.
func (s *Store) enter() error {
	if s.life.state.Add(2)&1 != 0 {
		s.leave()
		return ErrClosed
	}
	return nil
}

func (s *Store) leave() {
	if s.life.state.Add(-2) == 1 {
		s.life.end.Do(s.tearDown)
	}
}

// Close closes this process's descriptors of the store, or leaves it to the last
// call that is under way in another goroutine: it never waits for one. The stored
// files stay open as long as another process holds the store. Files that Get
// returned are the caller's and stay open. Closing again does nothing.
func (s *Store) Close() error {
	if s.life.state.Or(1) == 0 {
		s.life.end.Do(s.tearDown)
	}
	return nil
}

// tearDown closes all descriptors. Errors are of no use: Linux frees the number
// whatever close(2) says, and there is nothing to be written back.
func (s *Store) tearDown() {
	_ = unix.Close(s.fd)
	s.lending.close()
	if w := s.writer.Load(); w != nil {
		w.close()
	}
	s.kept.drop()
	if s.catalog != nil {
		s.catalog.close()
	}
}
