//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// firstExtra is the descriptor that the first of [exec.Cmd.ExtraFiles] becomes.
const firstExtra = 3

// AddToCmd passes the store to a command that is not started yet: it appends the root
// to ExtraFiles, and names the descriptor in the environment variable [EnvRoot]. The
// started program opens the store with [Inherited]. The file in ExtraFiles is lent:
// [Store.Close] closes it, so start the command first. If a command has two stores,
// Inherited opens the second.
//
// Errors: [ErrClosed], or what fcntl(2) says.
func (s *Store) AddToCmd(cmd *exec.Cmd) error {
	root, err := s.lend()
	if err != nil {
		return fmt.Errorf("fdstore: pass the store to %s: %w", cmd.Path, err)
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, EnvRoot+"="+formatRoot(firstExtra+len(cmd.ExtraFiles), s.number))
	cmd.ExtraFiles = append(cmd.ExtraFiles, root)
	return nil
}

// lending has a duplicate of the root for ExtraFiles, which the Store closes.
type lending struct {
	mu   sync.Mutex
	root *os.File // nil: not made yet
}

func (l *lending) close() {
	if l.root != nil {
		_ = l.root.Close()
	}
}

func (s *Store) lend() (*os.File, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	s.lending.mu.Lock()
	defer s.lending.mu.Unlock()
	if s.lending.root != nil {
		return s.lending.root, nil
	}
	f, err := s.dup()
	s.lending.root = f
	return f, err
}

// File returns a duplicate of the root's descriptor, close-on-exec, which the caller
// closes. Use it to send the store to another process, or in a command's ExtraFiles.
// A process that has it is a holder, see the package comment.
//
// Errors: [ErrClosed], or what fcntl(2) says.
func (s *Store) File() (*os.File, error) {
	err := s.enter()
	if err == nil {
		defer s.leave()
		var f *os.File
		if f, err = s.dup(); err == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("fdstore: duplicate the root: %w", err)
}

// dup duplicates the root. Preconditions: the Store is entered.
func (s *Store) dup() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	return os.NewFile(uintptr(fd), "fdstore"), nil
}

// SyscallConn lends the root's descriptor for the length of a call. So a Store is a
// [File], which can be added to another store. Read and Write of the connection are
// not supported.
//
// Errors: [ErrClosed].
func (s *Store) SyscallConn() (syscall.RawConn, error) {
	if s.FD() < 0 {
		return nil, fmt.Errorf("fdstore: %w", ErrClosed)
	}
	return rawConn{s}, nil
}

type rawConn struct{ s *Store }

func (c rawConn) Control(f func(fd uintptr)) error {
	if err := c.s.enter(); err != nil {
		return fmt.Errorf("fdstore: %w", err)
	}
	defer c.s.leave()
	f(uintptr(c.s.fd))
	return nil
}

func (c rawConn) Read(func(fd uintptr) bool) error { return errors.ErrUnsupported }

func (c rawConn) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// Inherited opens the store that [Store.AddToCmd] passed to this program. It removes
// [EnvRoot] from the environment, because programs that this one starts do not inherit
// the descriptor. The caller closes the Store.
//
// Errors: [fs.ErrNotExist] if the environment names no store; [ErrNotStore] if the
// descriptor that it names is another store or something else; those of [Open].
// The environment and the descriptor are then unchanged.
func Inherited() (*Store, error) {
	value, ok := os.LookupEnv(EnvRoot)
	if !ok {
		return nil, fmt.Errorf("fdstore: no store was passed to this program (%s is not set): %w", EnvRoot, fs.ErrNotExist)
	}
	fd, number, err := parseRoot(value)
	if err == nil {
		var s *Store
		if s, err = open(fd, number); err == nil {
			return s, os.Unsetenv(EnvRoot)
		}
	}
	return nil, fmt.Errorf("fdstore: open the store of %s=%s: %w", EnvRoot, value, err)
}

func formatRoot(fd int, number uint64) string { return fmt.Sprintf("%d:%016x", fd, number) }

func parseRoot(value string) (fd int, number uint64, err error) {
	before, after, ok := strings.Cut(value, ":")
	fd, err1 := strconv.Atoi(before)
	number, err2 := strconv.ParseUint(after, 16, 64)
	if !ok || err1 != nil || err2 != nil || fd < 0 || value != formatRoot(fd, number) {
		return -1, 0, fmt.Errorf("%w: expected DESCRIPTOR:NUMBER, with the number in 16 hex digits", ErrNotStore)
	}
	return fd, number, nil
}
