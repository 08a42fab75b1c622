//go:build !linux

package fdstore

import (
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// errHere is the error of all methods: SO_PEEK_OFF exists only on Linux. It matches
// [errors.ErrUnsupported].
var errHere = fmt.Errorf("fdstore: stores require Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)

// Store exists only on Linux. Here it has its methods so that programs compile.
type Store struct{ _ int }

// New fails with [errors.ErrUnsupported].
func New(Options) (*Store, error) { return nil, errHere }

// Open fails with [errors.ErrUnsupported].
func Open(fd int) (*Store, error) { return nil, errHere }

// Inherited fails with [errors.ErrUnsupported].
func Inherited() (*Store, error) { return nil, errHere }

// Add fails with [errors.ErrUnsupported].
func (s *Store) Add(f File) (ID, error) { return 0, errHere }

// AddFDs fails with [errors.ErrUnsupported].
func (s *Store) AddFDs(fds []int) (ID, error) { return 0, errHere }

// AddGroup fails with [errors.ErrUnsupported].
func (s *Store) AddGroup(files ...File) (ID, error) { return 0, errHere }

// AddListener fails with [errors.ErrUnsupported].
func (s *Store) AddListener(name string, l net.Listener) (ID, error) { return 0, errHere }

// AddNamed fails with [errors.ErrUnsupported].
func (s *Store) AddNamed(name string, files ...File) (ID, error) { return 0, errHere }

// Adopt fails with [errors.ErrUnsupported].
func (s *Store) Adopt() error { return errHere }

// Resign fails with [errors.ErrUnsupported].
func (s *Store) Resign() error { return errHere }

// AddToCmd fails with [errors.ErrUnsupported].
func (s *Store) AddToCmd(cmd *exec.Cmd) error { return errHere }

// All yields [errors.ErrUnsupported].
func (s *Store) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) { yield(Entry{}, errHere) }
}

// Close does nothing.
func (s *Store) Close() error { return nil }

// CopyTo fails with [errors.ErrUnsupported].
func (s *Store) CopyTo(dst *Store) error { return errHere }

// FD returns -1.
func (s *Store) FD() int { return -1 }

// File fails with [errors.ErrUnsupported].
func (s *Store) File() (*os.File, error) { return nil, errHere }

// Get fails with [errors.ErrUnsupported].
func (s *Store) Get(id ID) (*os.File, error) { return nil, errHere }

// GetFDs fails with [errors.ErrUnsupported].
func (s *Store) GetFDs(id ID, dst []int) ([]int, error) { return dst, errHere }

// GetGroup fails with [errors.ErrUnsupported].
func (s *Store) GetGroup(id ID) ([]*os.File, error) { return nil, errHere }

// GetNamed fails with [errors.ErrUnsupported].
func (s *Store) GetNamed(name string) (*os.File, error) { return nil, errHere }

// Layout returns 0.
func (s *Store) Layout() Layout { return 0 }

// Len returns -1.
func (s *Store) Len() int { return -1 }

// List fails with [errors.ErrUnsupported].
func (s *Store) List() ([]Entry, error) { return nil, errHere }

// Listener fails with [errors.ErrUnsupported].
func (s *Store) Listener(name string) (net.Listener, error) { return nil, errHere }

// Lookup fails with [errors.ErrUnsupported].
func (s *Store) Lookup(name string) (ID, error) { return 0, errHere }

// Number returns 0.
func (s *Store) Number() uint64 { return 0 }

// PacketConn fails with [errors.ErrUnsupported].
func (s *Store) PacketConn(name string) (net.PacketConn, error) { return nil, errHere }

// Seal fails with [errors.ErrUnsupported].
func (s *Store) Seal() error { return errHere }

// Sealed returns false.
func (s *Store) Sealed() bool { return false }

// SetKept does nothing.
func (s *Store) SetKept(most int) {}

// SyscallConn fails with [errors.ErrUnsupported].
func (s *Store) SyscallConn() (syscall.RawConn, error) { return nil, errHere }

// Verify fails with [errors.ErrUnsupported].
func (s *Store) Verify() error { return errHere }
