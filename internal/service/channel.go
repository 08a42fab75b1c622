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
// methods may be called by several goroutines, which then wait for each other;
// Close waits for no answer.
type Channel struct {
	fd     int
	number uint64

	asking sync.Mutex // held from a request to its answer, and to close fd
	broken error      // an answer may come that nobody waits for

	mu     sync.Mutex
	closed bool
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

// Close closes the channel. What was pushed stays in the service. A request that
// waits for its answer fails with [ErrClosed], as the second Close does.
func (c *Channel) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	c.closed = true
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR) // wakes who waits; it fails if the service is gone
	c.mu.Unlock()
	c.asking.Lock() // the number must not be another file's while somebody uses it
	defer c.asking.Unlock()
	return os.NewSyscallError("close", unix.Close(c.fd))
}

func (c *Channel) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
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
	c.asking.Lock()
	defer c.asking.Unlock()
	if c.isClosed() {
		return -1, ErrClosed
	}
	if c.broken != nil {
		return -1, c.broken
	}
	if err := send(c.fd, c.number, word, file, 0); err != nil {
		return -1, err
	}
	m, err := receive(c.fd, 0)
	got := -1
	if err == nil {
		got, err = c.answer(&m, word)
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		err = fmt.Errorf("%w: %w", ErrTimeout, err)
	case errors.Is(err, unix.ECONNRESET):
		err = ErrClosed
	}
	if errors.Is(err, ErrTimeout) || errors.Is(err, ErrProtocol) {
		c.broken = err // the next answer would be the last one's
	}
	if err != nil {
		for _, fd := range m.files {
			_ = unix.Close(fd)
		}
		return -1, err
	}
	return got, nil
}

// answer gives the file of an answer, -1 if it has none.
func (c *Channel) answer(m *message, word uint64) (int, error) {
	switch {
	case m.bytes == 0:
		return -1, ErrClosed
	case m.number != c.number:
		return -1, ErrProtocol
	case kindOf(m.word) == kindFailed && uint32(m.word) == uint32(word):
		return -1, failure(errnoOf(m.word))
	case m.word != word:
		return -1, ErrProtocol
	}
	return m.file()
}
