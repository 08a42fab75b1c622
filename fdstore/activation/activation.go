package activation

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"regrow/fdstore/internal/borrow"
)

// First is the number of the first file that is passed, SD_LISTEN_FDS_START.
const First = 3

// Unknown is the name of a file that was passed without one.
const Unknown = "unknown"

// MaxName is the length of the longest name, in bytes.
const MaxName = 255

// Errors of this package, matched with [errors.Is].
var (
	// ErrEnvironment means that the LISTEN_ variables contradict one another, or
	// do not match the descriptors of this process.
	ErrEnvironment = errors.New("the environment does not match the passed files")
	// ErrNoManager means that no service manager listens: NOTIFY_SOCKET is not set.
	ErrNoManager = errors.New("no service manager: NOTIFY_SOCKET is not set")
	// ErrAddress means that files cannot be sent to the address in NOTIFY_SOCKET.
	ErrAddress = errors.New("files cannot be sent to NOTIFY_SOCKET")
	// ErrBadName means that a name is empty, longer than [MaxName], not ASCII, or
	// has a colon or a control character. A manager would ignore it.
	ErrBadName = errors.New("bad name")
	// ErrNoInit means that this program does not call [Init].
	ErrNoInit = errors.New("the program does not call activation.Init")
	// ErrPrivileged means that this program has rights that its caller lacks
	// (AT_SECURE, see getauxval(3)). Then the environment must not decide which
	// program it becomes.
	ErrPrivileged = errors.New("the program got rights by its exec")
	// ErrExtraFiles means that a command already has files at the numbers where
	// the passed files must be.
	ErrExtraFiles = errors.New("the command has ExtraFiles already")
)

// File is an open file with the name under which it is passed. Names need not be
// unique.
type File struct {
	Name string // "" to pass it as [Unknown]
	*os.File
}

// Listener returns the listener of a stream socket. It takes over the file: after
// success the caller closes the listener, and must not use the file any more.
//
// Errors: that of [net.FileListener] for a file that is not a stream socket.
func (f File) Listener() (net.Listener, error) {
	l, err := net.FileListener(f.File)
	if err != nil {
		return nil, fmt.Errorf("activation: file %q: %w", f.Name, err)
	}
	_ = f.Close() // the listener has a descriptor of its own
	return l, nil
}

// PacketConn returns the connection of a datagram socket. It takes over the file,
// like [File.Listener].
//
// Errors: that of [net.FilePacketConn] for a file that is not a datagram socket.
func (f File) PacketConn() (net.PacketConn, error) {
	c, err := net.FilePacketConn(f.File)
	if err != nil {
		return nil, fmt.Errorf("activation: file %q: %w", f.Name, err)
	}
	_ = f.Close()
	return c, nil
}

// Detach returns a bare descriptor, close-on-exec, for functions that take over a
// descriptor, such as fdstore.Open. Otherwise the caller closes it. Detach takes over the
// file, like [File.Listener]: an os.File closes its descriptor when it is garbage.
//
// Errors: [os.ErrClosed], or that of fcntl(2); then the file is unchanged.
func (f File) Detach() (fd int, err error) {
	err = borrow.Files([]syscall.Conn{f.File}, func(fds []int) (err error) {
		fd, err = duplicate(fds[0])
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("activation: file %q: %w", f.Name, err)
	}
	_ = f.Close()
	return fd, nil
}

// checkName refuses names that managers ignore, see FDNAME in sd_notify(3).
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrBadName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrBadName, len(name), MaxName)
	case strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c > '~' }):
		return fmt.Errorf("%w: %q has characters that are not printable ASCII", ErrBadName, name)
	case strings.Contains(name, ":"):
		return fmt.Errorf("%w: %q has a colon", ErrBadName, name)
	}
	return nil
}

// joinNames returns the value of LISTEN_FDNAMES.
func joinNames(files []File) (string, error) {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
		if f.Name == "" {
			names[i] = Unknown
		}
		if err := checkName(names[i]); err != nil {
			return "", fmt.Errorf("file %d of %d: %w", i+1, len(files), err)
		}
		if f.File == nil {
			return "", fmt.Errorf("file %d of %d, %q: %w", i+1, len(files), names[i], os.ErrInvalid)
		}
	}
	return strings.Join(names, ":"), nil
}

// The variables of the protocol.
const (
	listenPID     = "LISTEN_PID"
	listenPIDFDID = "LISTEN_PIDFDID"
	listenFDs     = "LISTEN_FDS"
	listenFDNames = "LISTEN_FDNAMES"
)

// isListen reports whether an entry of an environment is one of these variables.
func isListen(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	switch name {
	case listenPID, listenPIDFDID, listenFDs, listenFDNames:
		return true
	}
	return false
}
