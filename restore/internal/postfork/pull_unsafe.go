package postfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// again is what pull answers when another task came between.
const again = syscall.EAGAIN

// pull takes a message out of the store. Setting the offset and peeking are two
// calls on a socket that all tasks share, so another task may come between; the
// payload (the store's number, the message's position) tells whether the
// message is ours. What came with another one is closed, and the pull is to be
// tried again. No lock: a lock's holder could be killed.
//
// a: store, word of the message, count, address of the numbers to land at, flags,
// how many tries at most.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func pull(h *program.Head, priv unsafe.Pointer, a *[6]uint64) syscall.Errno {
	prepare(priv, a[1])
	if e := seek(priv, a[0]); e != 0 {
		return e
	}
	n, e := peek(priv, a)
	if e == syscall.EINTR {
		return again
	}
	if e != 0 {
		return e // EAGAIN too: another task's offset was behind the end
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
	return again
}

// tryAgain counts a pull that went wrong and pauses once that has been often:
// for 1 to 16 µs, twice as long at each try up to 1 to 16 ms. The length depends
// on the message, so that two tasks do not meet again and again.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func tryAgain(h *program.Head, priv unsafe.Pointer, a *[6]uint64) syscall.Errno {
	const microsecond, maxShift = 1000, 10
	tries := (*uint64)(unsafe.Add(priv, program.PrivTries))
	*tries++
	if over(h) {
		return program.ReasonCanceled
	}
	if *tries > pullTries || a[5] != 0 && *tries > a[5] {
		return program.ReasonForeign
	}
	if *tries > pullSpins {
		pause := (*[2]uint64)(unsafe.Add(priv, program.PrivPair)) // each try writes the offset anew
		pause[0] = 0
		pause[1] = microsecond * (1 + (a[1]*7+*tries)&15) << min(*tries-pullSpins, maxShift)
		syscall.RawSyscall6(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(pause)), 0, 0, 0, 0, 0)
	}
	return 0
}

const (
	payloadSize = 16
	cmsgHeader  = 16
)

// seek sets the socket's peek offset. Before Linux 6.9 that takes the socket's lock,
// and a stop interrupts who waits for it (net/unix/af_unix.c, unix_set_peek_off): the
// offset is then another task's, and nothing may be peeked at.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func seek(priv unsafe.Pointer, store uint64) syscall.Errno {
	e := syscall.EINTR
	for e == syscall.EINTR {
		_, _, e = syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, uintptr(store), unix.SOL_SOCKET, unix.SO_PEEK_OFF,
			uintptr(unsafe.Add(priv, program.PrivPair)), 4, 0)
	}
	return e
}

// peek receives the message at the offset without removing it.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func peek(priv unsafe.Pointer, a *[6]uint64) (uintptr, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_RECVMSG, uintptr(a[0]), uintptr(unsafe.Add(priv, program.PrivMsghdr)),
		uintptr(unix.MSG_PEEK|unix.MSG_DONTWAIT|a[4]), 0, 0, 0)
	return n, e
}

// isOurs compares the payload.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func isOurs(h *program.Head, priv unsafe.Pointer, word uint64) bool {
	payload := (*[2]uint64)(unsafe.Add(priv, program.PrivPayload))
	return payload[0] == h.StoreNumber && payload[1] == word
}

// received gives the number of descriptors that came.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func received(priv unsafe.Pointer) uint64 {
	cmsg := (*syscall.Cmsghdr)(unsafe.Add(priv, program.PrivCmsg))
	if cmsg.Len < cmsgHeader || cmsg.Type != unix.SCM_RIGHTS {
		return 0
	}
	return (cmsg.Len - cmsgHeader) / 4
}

// truncated reports whether the kernel could not install all descriptors.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func truncated(priv unsafe.Pointer) bool {
	return (*syscall.Msghdr)(unsafe.Add(priv, program.PrivMsghdr)).Flags&unix.MSG_CTRUNC != 0
}

// giveBack closes what came with a message that is not the one. Mostly that is one run
// of numbers.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func giveBack(priv unsafe.Pointer) {
	n := received(priv)
	got := unsafe.Add(priv, program.PrivCmsg+cmsgHeader)
	for i := uint64(0); i < n; {
		first := *(*int32)(unsafe.Add(got, 4*i))
		last := first
		for i++; i < n && *(*int32)(unsafe.Add(got, 4*i)) == last+1; i++ {
			last++
		}
		syscall.RawSyscall6(unix.SYS_CLOSE_RANGE, uintptr(first), uintptr(last), 0, 0, 0, 0)
	}
}

// prepare sets up the offset and the message header; recvmsg writes to it.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func prepare(priv unsafe.Pointer, word uint64) {
	*(*int32)(unsafe.Add(priv, program.PrivPair)) = int32(payloadSize * uint32(word)) // wire.Word.Offset
	msg := (*[7]uint64)(unsafe.Add(priv, program.PrivMsghdr))
	iov := (*[2]uint64)(unsafe.Add(priv, program.PrivIovec))
	iov[0] = uint64(uintptr(unsafe.Add(priv, program.PrivPayload)))
	iov[1] = 16
	msg[0] = 0 // no address
	msg[1] = 0
	msg[2] = uint64(uintptr(unsafe.Pointer(iov)))
	msg[3] = 1
	msg[4] = uint64(uintptr(unsafe.Add(priv, program.PrivCmsg)))
	msg[5] = program.PrivCmsgLen
	msg[6] = 0
	cmsg := (*[2]uint64)(unsafe.Add(priv, program.PrivCmsg))
	cmsg[0], cmsg[1] = 0, 0
}

// landed looks whether the files are at the numbers of the plan.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func landed(h *program.Head, priv unsafe.Pointer, a *[6]uint64) syscall.Errno {
	want := at(h, a[3])
	got := unsafe.Add(priv, program.PrivCmsg+16)
	for i := uintptr(0); i < uintptr(a[2]); i++ {
		if *(*int32)(unsafe.Add(got, i*4)) != *(*int32)(unsafe.Add(want, i*4)) {
			return program.ReasonUnwanted
		}
	}
	*(*uint64)(unsafe.Add(priv, program.PrivTries)) = 0
	return 0
}
