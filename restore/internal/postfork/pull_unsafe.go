package postfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// pull takes a message out of the store. Setting the offset and peeking are two
// calls on a socket that all tasks share, so another task may come between; the
// payload (the store's number, the message's position) tells whether the
// message is ours. What came with another one is closed and the pull tried
// again. No lock: a lock's holder could be killed.
//
// a: store, message, count, address of the numbers to land at, flags.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func pull(h *program.Head, base, priv unsafe.Pointer, a *[6]uint64) syscall.Errno {
	payload := (*[2]uint64)(unsafe.Add(priv, program.PrivPayload))
	offset := (*int32)(unsafe.Add(priv, program.PrivPair))
	msg := (*syscall.Msghdr)(unsafe.Add(priv, program.PrivMsghdr))
	cmsg := (*syscall.Cmsghdr)(unsafe.Add(priv, program.PrivCmsg))
	const header = 16
	for try := 0; try < pullTries; try++ {
		*offset = int32(16 * a[1])
		prepare(priv)
		_, _, e := syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, uintptr(a[0]), unix.SOL_SOCKET, unix.SO_PEEK_OFF, uintptr(unsafe.Pointer(offset)), 4, 0)
		if e != 0 {
			return e
		}
		r, _, e := syscall.RawSyscall6(syscall.SYS_RECVMSG, uintptr(a[0]), uintptr(unsafe.Pointer(msg)),
			uintptr(unix.MSG_PEEK|unix.MSG_DONTWAIT|a[4]), 0, 0, 0)
		if e != 0 && e != syscall.EAGAIN && e != syscall.EINTR {
			return e
		}
		count := uint64(0)
		if e == 0 && msg.Controllen >= header && cmsg.Type == unix.SCM_RIGHTS {
			count = (uint64(cmsg.Len) - header) / 4
		}
		ours := e == 0 && r == 16 && payload[0] == h.StoreNumber && payload[1] == a[1]
		if ours && count == a[2] && msg.Flags&unix.MSG_CTRUNC == 0 {
			return landed(h, base, priv, a)
		}
		for i := uint64(0); i < count; i++ {
			syscall.RawSyscall6(syscall.SYS_CLOSE, uintptr(*(*int32)(unsafe.Add(unsafe.Pointer(cmsg), uintptr(header+4*i)))), 0, 0, 0, 0, 0)
		}
		if ours && msg.Flags&unix.MSG_CTRUNC != 0 {
			return syscall.EMFILE
		}
	}
	return program.ReasonForeign
}

// prepare sets up the message header; recvmsg writes to it.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func prepare(priv unsafe.Pointer) {
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
func landed(h *program.Head, base, priv unsafe.Pointer, a *[6]uint64) syscall.Errno {
	want := at(base, h.Base, a[3])
	got := unsafe.Add(priv, program.PrivCmsg+16)
	for i := uintptr(0); i < uintptr(a[2]); i++ {
		if *(*int32)(unsafe.Add(got, i*4)) != *(*int32)(unsafe.Add(want, i*4)) {
			return program.ReasonUnwanted
		}
	}
	return 0
}
