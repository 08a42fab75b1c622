//go:build linux

package fdstore

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// maxNames is how many names New tries. Two names of 16 random bytes do not collide by
// accident, and another process must read the name in /proc/net/unix before it can
// send. A process that wins this race 8 times does so on purpose.
const maxNames = 8

// newSocket makes a socket that is connected to itself and empty. Tests use afterBind:
// it is called, if it is not nil, while other processes can send to the socket. The
// caller closes the socket.
func newSocket(size int, afterBind func(name string)) (int, error) {
	for try := 1; ; try++ {
		fd, err := trySocket(size, afterBind)
		if err == nil {
			return fd, nil
		}
		again := errors.Is(err, unix.EADDRINUSE) || errors.Is(err, ErrForeign)
		if !again || try == maxNames {
			return -1, err
		}
	}
}

func trySocket(size int, afterBind func(name string)) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := connectToItself(fd, afterBind); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	err = setSendBuffer(fd, size)
	if err == nil {
		// A filter would drop messages although sendmsg reports success. The lock
		// keeps holders from attaching one, and cannot be removed.
		err = os.NewSyscallError("setsockopt SO_LOCK_FILTER", setsockopt(fd, unix.SO_LOCK_FILTER, 1))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// namePrefix is the beginning of the name of each socket of a store.
const namePrefix = "fdstore-"

// connectToItself binds and connects a socket. Between the two other processes can send:
//
//	bind ── others can send ── connect ── EPERM for others ──▶
//	                                   └─ the queue has what they sent
func connectToItself(fd int, afterBind func(name string)) error {
	var random [16]byte
	rand.Read(random[:])                                     // never fails since Go 1.24
	name := "@" + namePrefix + hex.EncodeToString(random[:]) // @: abstract, no file
	// On older kernels a signal can interrupt the wait for the socket's lock.
	err := ignoringEINTR(func() error { return unix.Bind(fd, &unix.SockaddrUnix{Name: name}) })
	if err != nil {
		return os.NewSyscallError("bind", err)
	}
	if afterBind != nil {
		afterBind(name)
	}
	err = ignoringEINTR(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: name}) })
	if err != nil {
		return os.NewSyscallError("connect", err)
	}
	return checkEmpty(fd)
}

// checkEmpty checks that the queue is empty. It peeks without space for control
// messages, so that it never receives a descriptor of another process.
func checkEmpty(fd int) error {
	err := ignoringEINTR(func() error {
		var b [1]byte
		_, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err
	})
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return os.NewSyscallError("recvfrom", err)
	}
	return fmt.Errorf("%w: another process has sent to the socket before it was connected", ErrForeign)
}

// setSendBuffer sets the send buffer to size bytes, or to the maximum if size is 0 or
// less. The send buffer limits the queue: a message is charged to its sender until it is
// received, which here is never.
func setSendBuffer(fd, size int) error {
	// The kernel doubles the value (sock_setsockopt), up to 2 GiB.
	half := math.MaxInt32 / 2
	if size > 0 && size < math.MaxInt32 {
		half = (size + 1) / 2
	}
	err := setsockopt(fd, unix.SO_SNDBUFFORCE, half)
	if errors.Is(err, unix.EPERM) {
		// The kernel limits this to net.core.wmem_max and doubles it.
		err = setsockopt(fd, unix.SO_SNDBUF, half)
	}
	return os.NewSyscallError("setsockopt SO_SNDBUF", err)
}

// setsockopt sets an option of level SOL_SOCKET.
func setsockopt(fd, option, value int) error {
	return ignoringEINTR(func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, value) })
}

// ignoringEINTR repeats a call that a signal has interrupted. Go's own preemption
// signals interrupt calls too.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
