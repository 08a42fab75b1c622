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

// maxNames is how many names New tries. Two names of 16 random bytes do not
// meet by accident, and a stranger has to see the name in /proc/net/unix
// before it can send: whoever wins this race 8 times sits there to win it.
const maxNames = 8

// newSocket makes a socket that is connected to itself and empty. afterBind,
// if not nil, is called where strangers can send: tests are such strangers.
// The caller closes the socket.
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
		// No holder can attach a filter, which would drop what is added, and
		// sendmsg would say that all went well. Nobody can take this back.
		err = os.NewSyscallError("setsockopt SO_LOCK_FILTER", setsockopt(fd, unix.SO_LOCK_FILTER, 1))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// namePrefix begins the name of each socket of a store.
const namePrefix = "fdstore-"

// connectToItself goes through the one moment in which others can send:
//
//	bind ── strangers can send ── connect ── EPERM for strangers ──▶
//	                                      └─ what they sent lies in the queue
func connectToItself(fd int, afterBind func(name string)) error {
	var random [16]byte
	rand.Read(random[:])                                     // never fails since Go 1.24
	name := "@" + namePrefix + hex.EncodeToString(random[:]) // @: abstract, no file
	// Older kernels wait for a lock of the socket, and let a signal interrupt that.
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

// checkEmpty peeks without room for control messages, so that no descriptor of
// a stranger ever enters this process.
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
	return fmt.Errorf("%w: a stranger has sent before the socket was connected", ErrForeign)
}

// setSendBuffer asks for size bytes, or for all that the kernel gives. The
// send buffer is what limits the queue: a message is accounted to its sender
// until it is taken out, which here is never.
func setSendBuffer(fd, size int) error {
	// The kernel doubles what it is given (sock_setsockopt), up to 2 GiB.
	half := math.MaxInt32 / 2
	if size > 0 && size < math.MaxInt32 {
		half = (size + 1) / 2
	}
	err := setsockopt(fd, unix.SO_SNDBUFFORCE, half)
	if errors.Is(err, unix.EPERM) {
		// Clamped to net.core.wmem_max, and still twice the default.
		err = setsockopt(fd, unix.SO_SNDBUF, half)
	}
	return os.NewSyscallError("setsockopt SO_SNDBUF", err)
}

// setsockopt sets an option of the socket level.
func setsockopt(fd, option, value int) error {
	return ignoringEINTR(func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, value) })
}

// ignoringEINTR repeats a call that a signal interrupted; Go's own preemption
// signals do that too.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
