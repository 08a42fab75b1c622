package postfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// take receives the answer of a service on the task's own channel, where nobody
// else's answers come. The file must land where the plan says.
//
// a: channel, word, count, address of the numbers to land at, flags, address of
// a timespec or 0.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func take(h *program.Head, priv unsafe.Pointer, a *[6]uint64) syscall.Errno {
	n, e := answer(priv, a)
	if e != 0 {
		return e
	}
	if n == 0 {
		return syscall.ECONNRESET // the service is gone
	}
	if n == payloadSize && isOurs(h, priv, a[1]) {
		if truncated(priv) {
			giveBack(priv)
			return syscall.EMFILE
		}
		if received(priv) == a[2] {
			return landed(h, priv, a)
		}
	}
	giveBack(priv)
	return program.ReasonForeign
}

// arrives waits until there is something to take, for as long as the op says: a
// naive plan may ask at what is no channel any more. It comes before take, not
// inside it, because the frames add up.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func arrives(h *program.Head, priv unsafe.Pointer, a *[6]uint64) syscall.Errno {
	if a[5] == 0 {
		return 0
	}
	// What is no socket at all says so at once.
	e := syscall.EINTR
	for e == syscall.EINTR {
		_, _, e = syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(a[0]), 0, 0, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	}
	if e != syscall.EAGAIN {
		return e
	}
	poll := (*unix.PollFd)(unsafe.Add(priv, program.PrivPair))
	poll.Fd, poll.Events, poll.Revents = int32(a[0]), unix.POLLIN, 0
	// The kernel writes back how much time is left, so the limit is copied, and a call
	// that was interrupted goes on with the rest.
	left := (*[2]uint64)(unsafe.Add(priv, program.PrivPayload))
	*left = *(*[2]uint64)(at(h, a[5]))
	for {
		r, _, e := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(poll)), 1, uintptr(unsafe.Pointer(left)), 0, 0, 0)
		if e == syscall.EINTR {
			continue
		}
		if e == 0 && r == 0 {
			return syscall.ETIMEDOUT
		}
		return e
	}
}

// answer receives a message, with what it carries.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func answer(priv unsafe.Pointer, a *[6]uint64) (uintptr, syscall.Errno) {
	for {
		prepare(priv, 0)
		n, _, e := syscall.RawSyscall6(syscall.SYS_RECVMSG, uintptr(a[0]), uintptr(unsafe.Add(priv, program.PrivMsghdr)), uintptr(a[4]), 0, 0, 0)
		if e == syscall.EAGAIN {
			return 0, syscall.ETIMEDOUT // SO_RCVTIMEO of the channel
		}
		if e != syscall.EINTR {
			return n, e
		}
	}
}
