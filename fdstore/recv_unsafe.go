//go:build linux

package fdstore

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// recvmsg is recvmsg(2) without the sender's address: unix.Recvmsg allocates three
// objects each time, and may return an error after it has received descriptors. Here an
// error means that nothing was received. With an empty oob no descriptor is received,
// and MSG_CTRUNC tells that the message carries some.
//
// Preconditions: data is not empty.
func recvmsg(fd int, data, oob []byte, flags int) (n, oobn, recvflags int, err error) {
	iov := unix.Iovec{Base: &data[0]}
	iov.SetLen(len(data))
	msg := unix.Msghdr{Iov: &iov, Control: unsafe.SliceData(oob)}
	msg.SetIovlen(1)
	msg.SetControllen(len(oob))
	r, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), uintptr(flags))
	if errno != 0 {
		return 0, 0, 0, errno
	}
	return int(r), int(msg.Controllen), int(msg.Flags), nil
}

// socketName is the name of a socket as the kernel returns it.
type socketName struct {
	name   unix.RawSockaddrUnix
	length uint32
}

// nameOf calls getsockname(2) or getpeername(2). unix.Getsockname allocates two objects
// and takes twice as long.
func nameOf(fd int, call uintptr) (n socketName, err error) {
	n.length = unix.SizeofSockaddrUnix
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&n.name)), uintptr(unsafe.Pointer(&n.length)))
	if errno != 0 {
		return n, errno
	}
	return n, nil
}

// has reports whether the name is abstract and begins with prefix.
func (n *socketName) has(prefix string) bool {
	if int(n.length) < unix.SizeofSockaddrUnix-len(n.name.Path)+1+len(prefix) || n.name.Path[0] != 0 {
		return false
	}
	for i := range len(prefix) {
		if byte(n.name.Path[1+i]) != prefix[i] {
			return false
		}
	}
	return true
}

// trySend tests whether a socket is shut down. It sends a message whose data is at
// address 0, which always fails: with EPIPE if the socket is shut down, else with
// EFAULT. The kernel checks for the former before it reads the data
// (sock_alloc_send_pskb).
func trySend(fd int) error {
	iov := unix.Iovec{}
	iov.SetLen(1)
	msg := unix.Msghdr{Iov: &iov}
	msg.SetIovlen(1)
	_, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return errno
}
