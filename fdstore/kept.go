package fdstore

import "golang.org/x/sys/unix"

// kept are pulled sockets that stay open, because a later get is likely to need
// them again: of those that the root carries enough for all branches of a store
// of 100,000 messages, of those in branches the last one, for gets in order.
type kept struct {
	inRoot   [keptInRoot]socket // fd 0: none; the store's own is never here
	next     int                // to be replaced
	inBranch socket
}

const keptInRoot = 32

// find returns the descriptor of a socket at a depth on the way, or -1.
func (k *kept) find(depth int, w Word) int {
	if depth > 0 {
		if k.inBranch.word == w {
			return k.inBranch.fd
		}
		return -1
	}
	for i := range k.inRoot {
		if k.inRoot[i].word == w {
			return k.inRoot[i].fd
		}
	}
	return -1
}

// keep takes a socket over, and closes the one whose place it takes.
func (k *kept) keep(depth int, s socket) {
	place := &k.inBranch
	if depth == 0 {
		place = &k.inRoot[k.next]
		k.next = (k.next + 1) % len(k.inRoot)
	}
	place.close()
	*place = s
}

// drop closes all, and reports whether there was one.
func (k *kept) drop() bool {
	had := k.inBranch.close()
	for i := range k.inRoot {
		had = k.inRoot[i].close() || had
	}
	return had
}

// close closes a socket that is open. Nothing was written to it, so there is no
// error to learn of.
func (s *socket) close() bool {
	if s.word == 0 {
		return false
	}
	_ = unix.Close(s.fd)
	*s = socket{}
	return true
}
