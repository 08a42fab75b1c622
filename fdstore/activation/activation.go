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
	// ErrEnvironment means that the LISTEN_ variables contradict themselves, or
	// the descriptors that this process has.
	ErrEnvironment = errors.New("the environment does not fit what was passed")
	// ErrNoManager means that no service manager listens: NOTIFY_SOCKET is not set.
	ErrNoManager = errors.New("no service manager: NOTIFY_SOCKET is not set")
	// ErrAddress means that NOTIFY_SOCKET is no address that files can be sent to.
	ErrAddress = errors.New("files cannot be sent to NOTIFY_SOCKET")
	// ErrBadName means that a name is empty, longer than [MaxName], not ASCII, or
	// has a colon or a control character. A manager would ignore it.
	ErrBadName = errors.New("bad name")
	// ErrNoInit means that this program does not call [Init].
	ErrNoInit = errors.New("the program does not call activation.Init")
	// ErrPrivileged means that this program has rights that its caller lacks
	// (AT_SECURE, see getauxval(3)), where the environment must not say what it
	// becomes.
	ErrPrivileged = errors.New("the program got rights by its exec")
	// ErrExtraFiles means that a command has files already, at the numbers where
	// those that are to be passed must stand.
	ErrExtraFiles = errors.New("the command has ExtraFiles already")
)

// File is an open file with the name under which it is passed. Names need not be
// unique.
type File struct {
	Name string // "" to pass it as [Unknown]
	*os.File
}

// Listener gives the listener of a stream socket. It takes the file over: after
// success the caller closes the listener, and must not use the file any more.
//
// Errors: what [net.FileListener] says of a file that is none.
func (f File) Listener() (net.Listener, error) {
	l, err := net.FileListener(f.File)
	if err != nil {
		return nil, fmt.Errorf("activation: file %q: %w", f.Name, err)
	}
	_ = f.Close() // the listener has a descriptor of its own
	return l, nil
}

// PacketConn gives the connection of a datagram socket. It takes the file over,
// as [File.Listener].
//
// Errors: what [net.FilePacketConn] says of a file that is none.
func (f File) PacketConn() (net.PacketConn, error) {
	c, err := net.FilePacketConn(f.File)
	if err != nil {
		return nil, fmt.Errorf("activation: file %q: %w", f.Name, err)
	}
	_ = f.Close()
	return c, nil
}

// Detach gives a bare descriptor, close-on-exec, which the caller closes, or gives to
// whoever takes one over, as fdstore.Open does. It takes the file over, as
// [File.Listener]: an os.File would close its descriptor when nobody uses it.
//
// Errors: [os.ErrClosed], or what fcntl(2) says; then the file is as it was.
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

// checkName refuses what managers ignore, see sd_notify(3), FDNAME.
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

// joinNames gives the value of LISTEN_FDNAMES.
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

// isListen reports whether an entry of an environment is of the protocol.
func isListen(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	switch name {
	case listenPID, listenPIDFDID, listenFDs, listenFDNames:
		return true
	}
	return false
}
