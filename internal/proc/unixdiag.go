package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// What include/uapi/linux/sock_diag.h and unix_diag.h call them.
const (
	sockDiagByFamily = 20

	showName  = 1 << 0
	showFile  = 1 << 1
	showPeer  = 1 << 2
	showIcons = 1 << 3
	showQueue = 1 << 4

	diagName     = 0
	diagFile     = 1
	diagPeer     = 2
	diagIcons    = 3
	diagQueue    = 4
	diagShutdown = 6

	stateEstablished = 1
	stateListens     = 10
)

// UnixSocket is what the kernel shows of a Unix socket without asking it.
type UnixSocket struct {
	Inode     uint64
	Type      int       // SOCK_STREAM and so on
	Listens   bool      // it is a listener
	Connected bool      // it has, or had, another side
	Name      string    // of struct sockaddr_un, "" for none; one of bytes begins with NUL
	File      [2]uint32 // inode and device of the file that its name is, or was; zero: none
	Peer      uint64    // the inode of the other side, 0: there is none any more, or it was not accepted yet
	Shutdown  int       // 1: it receives no more; 2: it sends no more
	Backlog   int       // of a listener
	Pending   []uint64  // inodes of the clients that wait to be accepted by it, 0: it is closed
}

// UnixSockets lists the Unix sockets of this network namespace by inode: see
// sock_diag(7). Nothing is asked of the sockets themselves. Since Linux 3.3, with the
// module unix_diag.
func UnixSockets() (map[uint64]*UnixSocket, error) {
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
	for _, word := range []uint32{^uint32(0), 0, showName | showFile | showPeer | showIcons | showQueue, ^uint32(0), ^uint32(0)} {
		request = n.AppendUint32(request, word)
	}
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto(NETLINK_SOCK_DIAG)", err)
	}
	sockets := map[uint64]*UnixSocket{}
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
func addUnix(sockets map[uint64]*UnixSocket, answer []byte) (done bool, err error) {
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
			// Not an error that could be taken for one of a process that is gone.
			return false, fmt.Errorf("sock_diag shows no Unix sockets: %v (it needs the module unix_diag)", unix.Errno(-int32(n.Uint32(message)))) //nolint:errorlint // on purpose
		case sockDiagByFamily:
			if len(message) >= body {
				s := &UnixSocket{
					Inode: uint64(n.Uint32(message[4:])), Type: int(message[1]),
					Listens:   message[2] == stateListens, // Of datagrams, who is connected to sets the state of the other one, too.
					Connected: message[2] == stateEstablished && message[1] != unix.SOCK_DGRAM,
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
func attributes(s *UnixSocket, text []byte) {
	const header = 4
	n := binary.NativeEndian
	for len(text) >= header {
		size := int(n.Uint16(text))
		if size < header || size > len(text) {
			return
		}
		data := text[header:size]
		switch kind := n.Uint16(text[2:]); {
		case kind == diagName && len(data) > 0:
			s.Name = string(data)
			if data[0] != 0 {
				s.Name = strings.TrimRight(s.Name, "\x00")
			}
		case kind == diagFile && len(data) == 8:
			s.File = [2]uint32{n.Uint32(data), n.Uint32(data[4:])}
		case kind == diagPeer && len(data) == 4:
			s.Connected, s.Peer = true, uint64(n.Uint32(data))
		case kind == diagIcons:
			for ; len(data) >= 4; data = data[4:] {
				s.Pending = append(s.Pending, uint64(n.Uint32(data)))
			}
		case kind == diagQueue && len(data) == 8 && s.Listens:
			s.Backlog = int(n.Uint32(data[4:]))
		case kind == diagShutdown && len(data) == 1:
			s.Shutdown = int(data[0])
		}
		text = text[min(len(text), (size+3)&^3):]
	}
}

// SocketHolder finds a process that has a socket, by the socket's inode; it looks at every
// process that it may look at. ok is false if none has it.
func SocketHolder(inode uint64) (pid int, name string, ok bool) {
	pids, err := processesIn(root)
	if err != nil {
		return 0, "", false
	}
	link := fmt.Sprintf("socket:[%d]", inode)
	for _, pid := range pids {
		fds, err := FDs(pid)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if got, err := FDLink(pid, fd); err == nil && got == link {
				s, err := Look(pid)
				return pid, s.Name, err == nil
			}
		}
	}
	return 0, "", false
}
