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

// Store is a process's access to a store. The writer adds and gets, other holders only
// get. The writer is the maker, which called [New], until another process that called
// [Open] or [Inherited] calls [Store.Adopt].
//
// All methods are safe for concurrent use. Gets of one process wait for one another, and
// so do adds; no other method waits for either. Processes do not wait for one another:
// they check each payload. Only one process may add, because it counts the messages.
//
// A Store has no finalizer, because its descriptor may be lent. It must be closed.
type Store struct {
	number   uint64
	layout   Layout
	fd       int                    // of the root, open until the last call has left
	life     life                   // of all descriptors of the Store
	catalog  *catalog               // nil: the store has none
	writer   atomic.Pointer[writer] // nil: this process does not add
	lending  lending
	adopting sync.Mutex    // held while the writer changes
	seen     atomic.Uint64 // how many messages the catalog had when it was last read

	// pulling is held during a pull, which another holder can make last
	// indefinitely: see the package comment. So only gets may wait for it. It guards
	// the following fields, which are here so that a get allocates nothing.
	pulling  sync.Mutex
	kept     kept
	data     [wire.PayloadSize]byte
	oob      [oobSize]byte
	received control
}

// oobSize is more than the 1032 bytes of the largest group, so that MSG_CTRUNC can only
// mean that the descriptor table is full. The rest is for control messages that a holder
// may have switched on (SO_PASSCRED, SO_PASSPIDFD, SO_TIMESTAMP).
const oobSize = 2048

// New makes an empty store. The caller closes it.
//
// Errors: [ErrForeign] if in each of several tries another process has sent to the
// socket before it was connected; [os.ErrInvalid] for an unknown layout; else that of
// socket(2), bind(2), connect(2), setsockopt(2) or memfd_create(2).
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

// newNumber returns a random number other than 0, so that a payload of zeros, as in a
// buffer that was never written, is not a message of any store.
func newNumber() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails since Go 1.24
		if n := binary.NativeEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}

// Number returns the random number that is in the payload of each message of this
// store. It is never 0 and never changes.
func (s *Store) Number() uint64 { return s.number }

// Layout returns the store's layout.
func (s *Store) Layout() Layout { return s.layout }

// FD lends the store's socket: the caller must not close it, and must not use it after
// Close. It is close-on-exec and non-blocking. -1 means that the store is closed.
//
// A process that gets it, by fork or as a dup, is a holder: see the package comment. To
// pass the store to a command use [Store.AddToCmd].
func (s *Store) FD() int {
	if s.life.closed() {
		return -1
	}
	return s.fd
}

// Len returns how many messages were added: their IDs are 0 to Len()-1. After Close it
// returns the last count. -1 means that the number is unknown: this process is not the
// writer, and the store has no catalog.
func (s *Store) Len() int {
	switch w := s.writer.Load(); {
	case w != nil:
		return int(w.count.Load())
	case s.catalog == nil:
		return -1
	}
	if s.enter() == nil {
		_ = s.refresh() // after an error seen has an earlier count
		s.leave()
	}
	return int(s.seen.Load())
}

// refresh reads the number of messages from the catalog. Preconditions: the store has a
// catalog, and the Store is entered.
func (s *Store) refresh() error {
	n, err := s.catalog.count(s.layout)
	for old := s.seen.Load(); err == nil && n > old && !s.seen.CompareAndSwap(old, n); {
		old = s.seen.Load()
	}
	return err
}

// life counts the calls that use the descriptors of a Store, so that Close need not
// wait: the last call closes them.
type life struct {
	state atomic.Int64 // 2 for each call, and 1 once closed
	end   sync.Once
}

func (l *life) closed() bool { return l.state.Load()&1 != 0 }

// enter keeps the descriptors open until leave.
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

// Close closes this process's descriptors of the store. If calls of other goroutines
// are running, the last of them closes the descriptors: Close never waits. The stored
// files stay open as long as another process has the store. Files that Get has returned
// belong to the caller and stay open. Closing again does nothing.
func (s *Store) Close() error {
	if s.life.state.Or(1) == 0 {
		s.life.end.Do(s.tearDown)
	}
	return nil
}

// tearDown closes all descriptors. It ignores errors: Linux frees the number even if
// close(2) fails, and nothing has to be written back.
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
