package live

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/tasktree/kind"
)

// sockets are the Unix sockets of this network namespace.
type sockets struct {
	byInode   map[uint64]*proc.UnixSocket
	listeners map[bound]*proc.UnixSocket  // by what they are bound to
	pending   map[uint64]*proc.UnixSocket // the listener that a client waits for, by the client's inode
	err       error
}

// bound is what a socket is bound to: accepted ones are bound to what their listener is.
type bound struct {
	name string
	file [2]uint32
}

// unixSockets gives them, asked for once.
func (l *look) unixSockets() *sockets {
	if l.sockets != nil {
		return l.sockets
	}
	s := &sockets{listeners: map[bound]*proc.UnixSocket{}, pending: map[uint64]*proc.UnixSocket{}}
	s.byInode, s.err = proc.UnixSockets()
	for _, socket := range s.byInode {
		if !socket.Listens {
			continue
		}
		s.listeners[bound{socket.Name, socket.File}] = socket
		for _, client := range socket.Pending {
			s.pending[client] = socket
		}
	}
	l.sockets = s
	return s
}

// unix gives what is known of an open file that is a Unix socket, nil of any other.
func (l *look) unix(c *class) *kind.LiveUnix {
	all := l.unixSockets()
	s := all.byInode[c.stat.Ino]
	if s == nil {
		return nil
	}
	if c.unix != nil {
		return c.unix
	}
	u := &kind.LiveUnix{
		Inode: s.Inode, Type: s.Type, Listens: s.Listens, Connected: s.Connected, Name: s.Name, Peer: s.Peer, Shutdown: s.Shutdown, Backlog: s.Backlog,
	}
	c.unix = u
	peer, waitsFor := all.byInode[s.Peer], all.pending[s.Inode]
	listener := all.listeners[bound{s.Name, s.File}]
	switch {
	case s.Listens || !s.Connected:
		return u
	case peer != nil:
		u.PeerName = peer.Name
		if theirs := all.listeners[bound{peer.Name, peer.File}]; theirs != nil && peer.Name != "" {
			listener = theirs
		} else {
			u.Accepted = s.Name != "" && (peer.Name == "" || listener != nil)
			u.Either = s.Name != "" && peer.Name != "" && listener == nil
		}
	case waitsFor != nil:
		u.Pending, u.PeerName, listener = true, waitsFor.Name, waitsFor
	default: // it is gone; what it was called is known to this one alone
		_ = liveEnd{l, c}.Copy(func(c kind.LiveCopy) error {
			var err error
			u.PeerName, err = c.PeerName()
			return err
		})
		for name, other := range all.listeners {
			if name.name == u.PeerName && u.PeerName != "" {
				listener = other
			}
		}
		u.Accepted = s.Name != "" && u.PeerName == ""
	}
	if listener != nil && listener.Name != "" {
		u.Listener = l.tokenOf(listener.Inode)
	}
	return u
}

// tokenOf gives the token of a socket of the tree, "" if no task has it.
func (l *look) tokenOf(inode uint64) string {
	for _, t := range l.seen.tables {
		for i := range t.fds {
			if c := t.fds[i].class; c.err == nil && c.stat.Ino == inode && c.link == fmt.Sprintf("socket:[%d]", inode) {
				return l.tokenFor(c)
			}
		}
	}
	return ""
}

// PeerName implements [kind.LiveCopy].
func (c *liveCopy) PeerName() (string, error) {
	address, err := unix.Getpeername(c.fd)
	if err != nil {
		return "", os.NewSyscallError("getpeername", err)
	}
	return rawName(address), nil
}

// rawName gives an address as the kernel has it.
func rawName(address unix.Sockaddr) string {
	named, ok := address.(*unix.SockaddrUnix)
	if !ok || named.Name == "" || named.Name == "@" { // package unix takes no name for an abstract one
		return ""
	}
	if named.Name[0] == '@' {
		return "\x00" + named.Name[1:]
	}
	return named.Name
}

// BoundFile implements [kind.LiveCopy]: SIOCUNIXFILE of unix(7), since Linux 4.5, with
// CAP_NET_ADMIN.
func (c *liveCopy) BoundFile() (mode uint32, names int, err error) {
	const siocUnixFile = 0x89E0
	fd, err := unix.IoctlRetInt(c.fd, siocUnixFile)
	if err != nil {
		return 0, 0, os.NewSyscallError("ioctl(SIOCUNIXFILE)", err)
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := proc.Statx(proc.Caller, fd, &st); err != nil {
		return 0, 0, err
	}
	return uint32(st.Mode), int(st.Nlink), nil
}
