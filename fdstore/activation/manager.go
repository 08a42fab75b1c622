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

// Manager is a service manager that receives messages of its services. Its methods are
// safe for concurrent use.
type Manager struct{ address string }

// FindManager returns the service manager of this process, by NOTIFY_SOCKET.
//
// Errors: [ErrNoManager]; [ErrAddress] if it is neither an absolute path nor an
// abstract name (@NAME): files cannot be sent to an AF_VSOCK address, which leads out of
// a virtual machine.
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
		return fmt.Errorf("%q is outside of this machine; open files cannot leave the machine", address)
	case address == "@" || address[0] != '/' && address[0] != '@':
		return fmt.Errorf("%q is neither an absolute path nor @NAME", address)
	case address[0] == '/' && len(address) >= maxAddress, len(address) > maxAddress:
		return fmt.Errorf("%q is longer than the address of a socket", address)
	}
	return nil
}

// StoreMax returns how many files the manager keeps for this service at most. known is
// false if the manager does not tell ($FDSTORE, since systemd 254).
func (m *Manager) StoreMax() (n int, known bool) {
	n, err := strconv.Atoi(os.Getenv("FDSTORE"))
	return n, err == nil && n >= 0
}

// StoreOptions are options for keeping files. The zero value is the manager's default.
type StoreOptions struct {
	// WithoutPoll tells the manager not to watch the files (FDPOLL=0, since
	// systemd 246). Otherwise it drops a pipe, socket or other file that can be
	// polled as soon as poll(2) says POLLHUP or POLLERR, for instance when the
	// other end was closed.
	WithoutPoll bool
}

// Store sends files to the manager, which keeps them under one name and passes them to
// this service when it starts again: see [Receive]. It returns when the manager has
// processed the message. It borrows the files.
//
// The manager does not report whether it keeps the files: systemd drops files beyond
// FileDescriptorStoreMax=, which is 0 if not set, and files that it has already.
//
// Errors: [ErrBadName]; [os.ErrClosed] or [os.ErrInvalid] (nil) for a file that is not
// open; the error of ctx; else that of the socket: ENOENT or ECONNREFUSED mean that the
// manager no longer listens.
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

// Remove makes the manager drop all files that it keeps under a name
// (FDSTOREREMOVE=1, since systemd 236). It returns when the manager has processed the
// message. An unknown name is not an error.
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

// Notify sends other lines of sd_notify(3) to the manager, such as READY=1, STOPPING=1
// or STATUS=... It does not wait until the manager has processed them.
//
// Errors: as [Manager.Store].
func (m *Manager) Notify(ctx context.Context, lines ...string) error {
	if err := m.send(ctx, strings.Join(lines, "\n"), nil); err != nil {
		return fmt.Errorf("activation: notify: %w", err)
	}
	return nil
}
