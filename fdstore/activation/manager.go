package activation

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// maxFiles is how many files one message carries, SCM_MAX_FD of the kernel.
const maxFiles = 253

// Manager is a service manager that listens for what its services say. Its
// methods may be called by several goroutines.
type Manager struct{ address string }

// FindManager returns the service manager of this process, by NOTIFY_SOCKET.
//
// Errors: [ErrNoManager]; [ErrAddress] where it is neither an absolute path nor an
// abstract name (@NAME): to an AF_VSOCK address, which leads out of a virtual
// machine, files cannot be sent.
func FindManager() (*Manager, error) {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil, fmt.Errorf("activation: %w", ErrNoManager)
	}
	if err := checkAddress(address); err != nil {
		return nil, fmt.Errorf("activation: %w: %w", ErrAddress, err)
	}
	return &Manager{address}, nil
}

// maxAddress is the length of sun_path, with its final NUL for a path.
const maxAddress = 108

func checkAddress(address string) error {
	switch {
	case strings.HasPrefix(address, "vsock"):
		return fmt.Errorf("%q is outside of this machine, and open files cannot leave it", address)
	case address == "@" || address[0] != '/' && address[0] != '@':
		return fmt.Errorf("%q is neither an absolute path nor @NAME", address)
	case address[0] == '/' && len(address) >= maxAddress, len(address) > maxAddress:
		return fmt.Errorf("%q is longer than the address of a socket", address)
	}
	return nil
}

// StoreMax returns how many files the manager keeps for this service, as far as it
// says so ($FDSTORE, since systemd 254).
func (m *Manager) StoreMax() (n int, known bool) {
	n, err := strconv.Atoi(os.Getenv("FDSTORE"))
	return n, err == nil && n >= 0
}

// StoreOptions say how a manager keeps files. The zero value is what it does by
// itself.
type StoreOptions struct {
	// WithoutPoll tells the manager not to watch the files (FDPOLL=0, since
	// systemd 246). Otherwise it drops a pipe, socket or other file that can be
	// polled as soon as poll(2) says POLLHUP or POLLERR, for instance when the
	// other end was closed.
	WithoutPoll bool
}

// Store gives files to the manager, which keeps them under one name and passes
// them to this service when it starts again: see [Receive]. It returns when the
// manager has taken the message. It borrows the files.
//
// A manager does not say whether it keeps them: systemd drops what exceeds
// FileDescriptorStoreMax=, which is 0 if not set, and a file that it has already.
//
// Errors: [ErrBadName]; [os.ErrClosed] or [os.ErrInvalid] (nil) for a file that is not
// open; the error of ctx; else what the socket says: ENOENT or
// ECONNREFUSED mean that nobody listens any more.
func (m *Manager) Store(ctx context.Context, name string, o StoreOptions, files ...syscall.Conn) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("activation: store: %w", err)
	}
	state := "FDSTORE=1\nFDNAME=" + name
	if o.WithoutPoll {
		state += "\nFDPOLL=0"
	}
	for len(files) > 0 {
		n := min(len(files), maxFiles)
		if err := m.send(ctx, state, files[:n]); err != nil {
			return fmt.Errorf("activation: store %q: %w", name, err)
		}
		files = files[n:]
	}
	return m.Barrier(ctx)
}

// Remove lets the manager drop all files that it keeps under a name
// (FDSTOREREMOVE=1, since systemd 236), and returns when it has taken the message.
// A name that it does not have is no error.
//
// Errors: as [Manager.Store].
func (m *Manager) Remove(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("activation: remove: %w", err)
	}
	if err := m.send(ctx, "FDSTOREREMOVE=1\nFDNAME="+name, nil); err != nil {
		return fmt.Errorf("activation: remove %q: %w", name, err)
	}
	return m.Barrier(ctx)
}

// Notify tells the manager something else of sd_notify(3): lines such as READY=1,
// STOPPING=1, STATUS=... It does not wait for the manager.
//
// Errors: as [Manager.Store].
func (m *Manager) Notify(ctx context.Context, lines ...string) error {
	if err := m.send(ctx, strings.Join(lines, "\n"), nil); err != nil {
		return fmt.Errorf("activation: notify: %w", err)
	}
	return nil
}
