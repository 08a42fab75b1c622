package kind

import (
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// made fills in what is read of a queue that was made. packet: its write end is in packet
// mode, whether the description calls it that or says O_DIRECT.
func (q queue) made(packet bool) {
	if q.capacity.Value > 0 {
		q.capacity.Value = roundPipe(q.capacity.Value)
	}
	q.packet.Value, q.packet.Set = packet, true
	q.settle(*q.packets)
	q.owner.Any = true
	if !q.mode.Said() {
		*q.mode = tasktree.Number{Value: 0o600}
	}
	q.mode.Set = true
}

// settle says what waits in the one form in which it is compared: a text, or several
// packets.
func (q queue) settle(all []tasktree.Text) {
	switch {
	case len(all) == 1:
		*q.content, *q.packets = all[0], nil
	case len(all) > 1:
		*q.content, *q.packets = tasktree.Text{}, all
		return
	}
	q.content.Set = true
}

// readFile reads what the inode has.
func (q queue) readFile(e LiveEnd) {
	*q.owner = ownerOf(e)
	*q.mode = tasktree.Number{Value: int64(e.Stat().Mode) & allModes, Set: true}
}

// readFrom reads the rest by an end, and takes nothing. readEnd: the end can be read from.
func (q queue) readFrom(l Live, e LiveEnd, readEnd bool) (unseen []Unseen) {
	if !l.Wants("capacity") && !l.Wants("content") && !l.Wants("read") {
		return nil
	}
	lost := func(key string, always bool, format string, args ...any) {
		if l.Wants(key) {
			unseen = append(unseen, Unseen{Key: key, Why: fmt.Sprintf(format, args...), Always: always})
		}
	}
	err := e.Copy(func(c LiveCopy) error {
		size, err := c.Fcntl(unix.F_GETPIPE_SZ)
		if err != nil {
			lost("capacity", false, "fcntl(F_GETPIPE_SZ): %v", err)
		} else {
			*q.capacity = tasktree.Number{Value: int64(size), Set: true}
		}
		if l.Wants("content") || l.Wants("read") {
			q.readContent(c, readEnd, lost)
		}
		return nil
	})
	if err != nil {
		lost("capacity", false, "%v", err)
		lost("content", false, "%v", err)
		lost("read", false, "%v", err)
	}
	return unseen
}

// readContent reads what waits.
func (q queue) readContent(c LiveCopy, readEnd bool, lost func(key string, always bool, format string, args ...any)) {
	waiting, err := c.Waiting()
	switch {
	case err != nil:
		lost("content", false, "ioctl(FIONREAD): %v", err)
		lost("read", false, "ioctl(FIONREAD): %v", err)
		return
	case waiting > 0 && !readEnd:
		lost("content", true, "%d bytes wait in the pipe, and no task has its read end", waiting)
		lost("read", true, "no task has its read end")
		return
	case waiting == 0:
		q.settle(nil)
		*q.read = tasktree.Number{Set: true}
		return
	}
	pieces, whole, err := c.Tee()
	switch {
	case err != nil:
		lost("content", false, "%d bytes wait in the pipe: tee: %v", waiting, err)
		lost("read", false, "tee: %v", err)
		return
	case !whole:
		n := 0
		for _, piece := range pieces {
			n += len(piece)
		}
		lost("content", false, "more waits in the pipe than this process may copy at once (fs.pipe-max-size): %d bytes of %d", n, waiting)
	default:
		all := make([]tasktree.Text, len(pieces))
		for i, piece := range pieces {
			all[i] = schema.Text{Value: string(piece), Set: true}
		}
		q.settle(all)
	}
	if len(pieces) == 1 { // each packet has a page of its own
		q.readFront(c, waiting, lost)
	}
}

// readFront finds how many bytes of the first page were read, where more pages follow:
// writers fill pages, and only readers leave a part of the first one.
func (q queue) readFront(c LiveCopy, waiting int, lost func(key string, always bool, format string, args ...any)) {
	first, err := c.Front()
	switch {
	case err != nil:
		lost("read", false, "tee: %v", err)
	case first == waiting && waiting < pipePage:
		if q.capacity.Value <= pipePage { // else there is room in any case
			lost("read", true, "all that waits is in one page, and how much of that was read is not visible")
		}
	default:
		*q.read = tasktree.Number{Value: int64(max(0, pipePage-first)), Set: true}
	}
}
