package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"regrow/tasktree/kind"
)

// What include/uapi/linux/sock_diag.h and unix_diag.h call them.
const (
	sockDiagByFamily = 20

	showName = 1 << 0
	showPeer = 1 << 2

	diagName     = 0
	diagPeer     = 2
	diagShutdown = 6

	stateEstablished = 1
	stateListens     = 10
)

// unixSockets lists the Unix sockets of this network namespace by inode: see
// sock_diag(7). Nothing is asked of the sockets themselves. Since Linux 3.3, with the
// module unix_diag.
func unixSockets() (map[uint64]*kind.LiveUnix, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket(NETLINK_SOCK_DIAG)", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		return nil, os.NewSyscallError("setsockopt(SO_RCVTIMEO)", err)
	}
	n := binary.NativeEndian
	request := n.AppendUint32(nil, 40) // struct nlmsghdr
	request = n.AppendUint16(request, sockDiagByFamily)
	request = n.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request = append(request, make([]byte, 8)...)
	request = append(request, unix.AF_UNIX, 0, 0, 0) // struct unix_diag_req
	for _, word := range []uint32{^uint32(0), 0, showName | showPeer, ^uint32(0), ^uint32(0)} {
		request = n.AppendUint32(request, word)
	}
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto(NETLINK_SOCK_DIAG)", err)
	}
	sockets := map[uint64]*kind.LiveUnix{}
	for answer := make([]byte, 1<<16); ; {
		got, _, err := unix.Recvfrom(fd, answer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom(NETLINK_SOCK_DIAG)", err)
		}
		done, err := addUnix(sockets, answer[:got])
		if done || err != nil {
			return sockets, err
		}
	}
}

// addUnix reads messages of an answer, and reports whether they were the last.
func addUnix(sockets map[uint64]*kind.LiveUnix, answer []byte) (done bool, err error) {
	const header, body = 16, 16 // struct nlmsghdr, struct unix_diag_msg
	n := binary.NativeEndian
	for len(answer) >= header {
		size := int(n.Uint32(answer))
		if size < header || size > len(answer) {
			return false, fmt.Errorf("sock_diag: a message of %d bytes in %d", size, len(answer))
		}
		message := answer[header:size]
		switch n.Uint16(answer[4:]) {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			return false, os.NewSyscallError("sock_diag", unix.Errno(-int32(n.Uint32(message))))
		case sockDiagByFamily:
			if len(message) >= body {
				s := &kind.LiveUnix{
					Inode: uint64(n.Uint32(message[4:])), Type: int(message[1]),
					Listens: message[2] == stateListens, Connected: message[2] == stateEstablished,
				}
				attributes(s, message[body:])
				sockets[s.Inode] = s
			}
		}
		answer = answer[min(len(answer), (size+3)&^3):]
	}
	return false, nil
}

// attributes reads what follows a message: struct rtattr and its data, each.
func attributes(s *kind.LiveUnix, text []byte) {
	const header = 4
	n := binary.NativeEndian
	for len(text) >= header {
		size := int(n.Uint16(text))
		if size < header || size > len(text) {
			return
		}
		data := text[header:size]
		switch kind := n.Uint16(text[2:]); {
		case kind == diagName:
			s.Name = string(data)
		case kind == diagPeer && len(data) == 4:
			s.Peer = uint64(n.Uint32(data))
		case kind == diagShutdown && len(data) == 1:
			s.Shutdown = int(data[0])
		}
		text = text[min(len(text), (size+3)&^3):]
	}
}

// unix gives what is known of a Unix socket, nil of anything else.
func (l *look) unix(inode uint64) *kind.LiveUnix {
	if l.sockets == nil {
		l.sockets, l.socketsErr = unixSockets()
		if l.sockets == nil {
			l.sockets = map[uint64]*kind.LiveUnix{}
		}
	}
	return l.sockets[inode]
}
