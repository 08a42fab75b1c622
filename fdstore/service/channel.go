package service

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Channel is one way to a service, with requests and answers of its own. Its
// methods may be called by several goroutines, which then wait for each other.
type Channel struct {
	mu     sync.Mutex
	fd     int // -1: closed
	number uint64
}

// Open opens a channel through a door ([Service.Door]), which is borrowed. number
// is [Service.Number]. An answer is waited for that long, 0: 30 seconds. The
// caller must [Channel.Close] it.
func Open(door int, number uint64, timeout time.Duration) (*Channel, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("service: %w", os.NewSyscallError("socketpair", err))
	}
	err = send(door, number, OpenWord, pair[1], 0)
	_ = unix.Close(pair[1])
	if err == nil {
		err = setTimeout(pair[0], unix.SO_RCVTIMEO, timeout)
	}
	if err != nil {
		_ = unix.Close(pair[0])
		return nil, fmt.Errorf("service: open a channel: %w", err)
	}
	return &Channel{fd: pair[0], number: number}, nil
}

// setTimeout bounds how long a socket waits, 0: 30 seconds.
func setTimeout(fd, option int, timeout time.Duration) error {
	const patience = 30 * time.Second
	if timeout <= 0 {
		timeout = patience
	}
	limit := unix.NsecToTimeval(int64(timeout))
	return os.NewSyscallError("setsockopt", ignoringEINTR(func() error {
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit)
	}))
}

// Close closes the channel. What was pushed stays in the service.
func (c *Channel) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return ErrClosed
	}
	err := unix.Close(c.fd)
	c.fd = -1
	return os.NewSyscallError("close", err)
}

// Push puts an open file into the service under id. It borrows fd.
//
// Errors: [ErrTaken], [ErrFull], [ErrSealed], [ErrClosed], [ErrTimeout].
func (c *Channel) Push(id ID, fd int) error {
	if fd < 0 {
		return fmt.Errorf("service: push %d: %w", id, unix.EBADF)
	}
	if _, err := c.ask(pushWord(id), fd); err != nil {
		return fmt.Errorf("service: push %d: %w", id, err)
	}
	return nil
}

// Pop gives the open file that was pushed under id, close-on-exec. It is the
// caller's; the service keeps it for others, too.
//
// Errors: [ErrNotFound], [ErrNoDescriptors], [ErrClosed], [ErrTimeout].
func (c *Channel) Pop(id ID) (*os.File, error) {
	fd, err := c.ask(PopWord(id), -1)
	if err == nil && fd < 0 {
		err = ErrProtocol
	}
	if err != nil {
		return nil, fmt.Errorf("service: pop %d: %w", id, err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("service:%d", id)), nil
}

// Seal lets nobody push any more.
func (c *Channel) Seal() error {
	if _, err := c.ask(kindSeal<<kindShift, -1); err != nil {
		return fmt.Errorf("service: seal: %w", err)
	}
	return nil
}

// ask sends a request and waits for its answer.
func (c *Channel) ask(word uint64, file int) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return -1, ErrClosed
	}
	if err := send(c.fd, c.number, word, file, 0); err != nil {
		return -1, err
	}
	number, answer, got, n, err := receive(c.fd)
	switch {
	case errors.Is(err, unix.EAGAIN):
		err = fmt.Errorf("%w: %w", ErrTimeout, err)
	case errors.Is(err, unix.ECONNRESET), err == nil && n == 0:
		err = ErrClosed
	case err != nil:
	case number != c.number:
		err = ErrProtocol
	case kindOf(answer) == kindFailed:
		err = failure(errnoOf(answer))
	case answer != word:
		err = ErrProtocol
	}
	if err != nil && got >= 0 {
		_ = unix.Close(got)
		got = -1
	}
	return got, err
}
