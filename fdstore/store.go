package fdstore

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// Options configure [New]. The zero value is right for most stores.
type Options struct {
	// BufferSize is the memory that the kernel may use for the root's queue,
	// in bytes; a message takes 768 of them (Linux 6.18, 64 bit). 0 or less
	// asks for as much as there is. The kernel gives no less than 4608 and,
	// without CAP_NET_ADMIN, no more than twice net.core.wmem_max.
	BufferSize int

	// Layout is where messages lie: 0 means [Nested]. [Flat] is for those who
	// pull by themselves and do not want to know of shards.
	Layout Layout

	// WithoutCatalog saves the memfd in which the store keeps names and a
	// list of what it holds, for those who pull by number alone.
	WithoutCatalog bool
}

// Store is the maker's end of a store: it adds, gets and counts. Other
// processes pull through the socket alone, see the package comment.
//
// All methods are safe for concurrent use: a mutex holds the goroutines of one
// process apart, the check of each payload the processes. Only one process may
// add, since only it counts.
//
// A Store has no finalizer, because its descriptor is there to be lent: it
// lives until Close.
type Store struct {
	maker      bool // false: opened by Open
	number     uint64
	layout     Layout
	bufferSize int // as asked for

	mu      sync.Mutex
	fd      int       // of the root, -1 once closed
	root    *os.File  // a duplicate that commands are lent, nil: none yet
	open    [2]socket // those that are being filled, on the way to the last message
	kept    kept
	sealed  bool
	catalog catalog

	// What a pull receives into, kept to allocate nothing each time.
	data [wire.PayloadSize]byte
	oob  [oobSize]byte
	came control
}

// socket is a shard or a branch; the zero value is none.
type socket struct {
	fd   int
	word wire.Word // of the message that carries it, never 0
}

// close closes a socket that is open. There is no error to learn of.
func (s *socket) close() {
	if s.word != 0 {
		_ = unix.Close(s.fd)
		*s = socket{}
	}
}

// oobSize is more than the 1032 bytes of the largest group, so that MSG_CTRUNC
// can only mean that descriptors did not fit into the table. The rest is for
// what a holder may have switched on (SO_PASSCRED, SO_PASSPIDFD, SO_TIMESTAMP).
const oobSize = 2048

// New makes an empty store. The caller closes it.
//
// Errors: [ErrForeign] if strangers sent to the socket before it was connected,
// at each of several tries; else what socket(2), bind(2), connect(2) or
// setsockopt(2) say.
func New(o Options) (*Store, error) { return newStore(o, nil) }

func newStore(o Options, afterBind func(name string)) (*Store, error) {
	if o.Layout == 0 {
		o.Layout = Nested
	}
	fd, err := newSocket(o.BufferSize, afterBind)
	if err != nil {
		return nil, fmt.Errorf("fdstore: make a store: %w", err)
	}
	s := &Store{maker: true, fd: fd, number: newNumber(), layout: o.Layout, bufferSize: o.BufferSize}
	if err := s.begin(o); err != nil {
		s.catalog.close()
		_ = unix.Close(fd)
		return nil, fmt.Errorf("fdstore: make a store: %w", err)
	}
	return s, nil
}

// begin sends the header.
func (s *Store) begin(o Options) error {
	if o.WithoutCatalog {
		s.catalog.names = map[string]ID{}
		return s.sendTo(s.fd, s.layout.HeaderWord(0), nil)
	}
	c, err := newCatalog()
	if err != nil {
		return err
	}
	s.catalog = *c
	return s.sendTo(s.fd, s.layout.HeaderWord(1), []int{int(c.file.Fd())})
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

// FD lends the store's socket: the caller does not close it, and uses it no
// longer than the store is open. It is close-on-exec and non-blocking. -1 means
// that the store is closed.
//
// A process that receives it, by fork or in os/exec's ExtraFiles as a dup, is a
// holder: see the package comment for what that means.
func (s *Store) FD() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fd
}

// Len returns how many messages were added: their IDs are 0 to Len()-1. A
// closed store keeps its count. -1 means that this is not the maker and that the
// store has no catalog.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.maker && s.catalog.file == nil {
		return -1
	}
	_ = s.refresh() // what was read before is still true
	return len(s.catalog.records)
}

// Seal ends the adding, in all processes: shutdown(SHUT_WR) on the root and on
// every shard, see shutdown(2). Getting goes on. Sealing again does nothing.
//
// Errors: [ErrClosed], [ErrReadOnly].
func (s *Store) Seal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return fmt.Errorf("fdstore: seal: %w", ErrClosed)
	}
	if !s.maker {
		return fmt.Errorf("fdstore: seal: %w", ErrReadOnly)
	}
	if s.sealed {
		return nil
	}
	// A full one was sealed when the next one was begun.
	if err := s.finish(0); err != nil {
		return fmt.Errorf("fdstore: seal: %w", err)
	}
	if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
		return fmt.Errorf("fdstore: seal: %w", os.NewSyscallError("shutdown", err))
	}
	s.sealed = true
	if err := s.catalog.seal(); err != nil {
		return fmt.Errorf("fdstore: seal: %w", err)
	}
	return nil
}

// finish seals the sockets from the given depth on and lets go of their
// descriptors: others carry them.
func (s *Store) finish(depth int) error {
	for i := depth; i < len(s.open); i++ {
		if s.open[i].word == 0 {
			continue
		}
		if err := unix.Shutdown(s.open[i].fd, unix.SHUT_WR); err != nil {
			return os.NewSyscallError("shutdown", err)
		}
		s.open[i].close()
	}
	return nil
}

// Layout returns where the messages of this store lie.
func (s *Store) Layout() Layout { return s.layout }

// Close closes this process's descriptors of the store. The stored files stay
// open as long as another process holds one. Files that Get returned are the
// caller's and stay open. Closing again does nothing and returns nil.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	if s.root != nil {
		_ = s.root.Close()
	}
	for i := range s.open {
		s.open[i].close()
	}
	s.kept.drop()
	s.catalog.close()
	// Not repeated on EINTR: Linux has freed the number by then (close(2)).
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("fdstore: close: %w", os.NewSyscallError("close", err))
	}
	return nil
}
