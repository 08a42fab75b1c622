//go:build linux

package fdstore

import (
	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// kept is a cache of nested sockets that were pulled and stay open for later gets.
// Pulling a socket costs as much as pulling the file itself, and more if it is in no
// processor cache.
type kept struct {
	most  int               // sockets at most; 0: not decided yet
	fds   map[wire.Word]int // by the message that carries the socket
	order []wire.Word       // oldest first; with most sockets, a ring that starts at next
	next  int               // index in order of the socket to be replaced
}

const (
	// maxKept is enough for all sockets of a store of 100,000 messages.
	maxKept = 2048
	// One of keptShare descriptors of the soft limit may be a kept socket.
	keptShare = 8
)

// SetKept limits how many nested sockets the Store keeps open for later gets, at least
// 1. The default is an eighth of the soft RLIMIT_NOFILE when the first socket is kept,
// at most 2048. They are close-on-exec. If a get has no free descriptor, the Store
// closes them and tries again. SetKept closes the sockets that are kept now.
func (s *Store) SetKept(most int) {
	if s.enter() != nil {
		return
	}
	defer s.leave()
	s.pulling.Lock()
	defer s.pulling.Unlock()
	s.kept.drop()
	s.kept.most = max(most, 1)
}

// find returns the descriptor of the socket in message w, or -1.
func (k *kept) find(w wire.Word) int {
	if fd, ok := k.fds[w]; ok {
		return fd
	}
	return -1
}

// keep takes over the socket that message w carries. If there are too many, it closes
// the oldest.
func (k *kept) keep(w wire.Word, fd int) {
	if k.most == 0 {
		soft, _ := softFiles() // 0 after an error
		k.most = max(1, int(min(soft/keptShare, maxKept)))
	}
	if k.fds == nil {
		k.fds = map[wire.Word]int{}
	}
	if len(k.order) < k.most {
		k.order = append(k.order, w)
	} else {
		_ = unix.Close(k.fds[k.order[k.next]]) // nothing was written to it
		delete(k.fds, k.order[k.next])
		k.order[k.next] = w
		k.next = (k.next + 1) % k.most
	}
	k.fds[w] = fd
}

// drop closes all kept sockets, and reports whether there was one.
func (k *kept) drop() bool {
	had := len(k.fds) > 0
	for _, fd := range k.fds {
		_ = unix.Close(fd)
	}
	*k = kept{most: k.most}
	return had
}
