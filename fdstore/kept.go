//go:build linux

package fdstore

import (
	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// kept are pulled sockets that stay open, because a later get is likely to need
// them again. Pulling one costs as much as the file itself, and more where the
// caches have forgotten it.
type kept struct {
	most  int               // how many there may be, 0: not decided yet
	fds   map[wire.Word]int // by the message that carries the socket
	order []wire.Word       // in which they came: a ring once there are most
	next  int               // of order, to be replaced
}

const (
	// maxKept is enough for all sockets of a store of 100,000 messages.
	maxKept = 2048
	// keptShare of the table may be spent on sockets that are kept.
	keptShare = 8
)

// SetKept bounds how many nested sockets the Store keeps open for later gets,
// at least 1. Default: an eighth of the soft RLIMIT_NOFILE when the first one is
// kept, at most 2048. They are close-on-exec, and the Store closes them by
// itself when its own gets find no free descriptor. Those that are open now are
// closed.
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

// keep takes over the socket that was in message w, and closes the one whose
// place it takes.
func (k *kept) keep(w wire.Word, fd int) {
	if k.most == 0 {
		soft, _ := softFiles() // 0 if it cannot be known
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

// drop closes all, and reports whether there was one.
func (k *kept) drop() bool {
	had := len(k.fds) > 0
	for _, fd := range k.fds {
		_ = unix.Close(fd)
	}
	*k = kept{most: k.most}
	return had
}
