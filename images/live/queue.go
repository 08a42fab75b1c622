package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/tasktree/kind"
)

const (
	soPeekOff    = 42 // of sock_diag.h's asm-generic/socket.h
	siocAtMark   = 0x8905
	mostItems    = 1 << 16 // that a look lists
	roomForFiles = 253
)

var errBusy = &kind.NeverError{Why: "a program has the socket, and a look at what waits there would disturb it"}

// errFailed stands for an error of the other side's that the next receive gets, once.
var errFailed = &kind.NeverError{Why: "an error waits there (ECONNRESET, if the other side was closed with something unread), which a look would take away"}

// Queue implements [kind.LiveCopy].
//
// What waits is peeked at one by one, at the offset of SO_PEEK_OFF, which is the
// socket's own and therefore put back. Whoever receives with MSG_PEEK meanwhile would get
// something else, so that is done only to sockets that nobody but tasks which hold has.
func (c *liveCopy) Queue() (items []kind.LiveItem, err error) {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN | unix.POLLPRI}}
	if _, err := again(func() (int, error) { return unix.Poll(fds, 0) }); err != nil {
		return nil, os.NewSyscallError("poll", err)
	}
	waiting, err := c.Waiting()
	switch {
	case err != nil:
		return nil, os.NewSyscallError("ioctl(FIONREAD)", err)
	case waiting == 0 && fds[0].Revents&unix.POLLIN == 0:
		return nil, nil
	case !c.rests:
		return nil, errBusy
	}
	kindOf, err := c.option(unix.SO_TYPE)
	if err != nil {
		return nil, err
	}
	was, err := c.option(soPeekOff)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.peekAt(was)) }()
	failed := fds[0].Revents&unix.POLLERR != 0
	if kindOf == unix.SOCK_STREAM {
		return c.stream(waiting, failed)
	}
	if failed {
		return nil, errFailed
	}
	return c.messages(kindOf, waiting)
}

// again makes a call again that a signal has interrupted.
func again(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (c *liveCopy) option(name int) (int, error) {
	value, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, name)
	return value, os.NewSyscallError("getsockopt", err)
}

// peekAt moves the offset at which MSG_PEEK looks; -1: at the first message, always.
// Before Linux 6.9 the call can be interrupted, and is not made again by the kernel.
func (c *liveCopy) peekAt(offset int) error {
	_, err := again(func() (int, error) {
		return 0, unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, soPeekOff, offset)
	})
	return os.NewSyscallError("setsockopt(SO_PEEK_OFF)", err)
}

// peek looks at what is next. ok is false if nothing is.
func (c *liveCopy) peek(flags int) (item kind.LiveItem, ok bool, err error) {
	room := make([]byte, unix.CmsgSpace(4*roomForFiles)+unix.CmsgSpace(unix.SizeofUcred)+256)
	if c.buffer == nil {
		c.buffer = make([]byte, 1<<20)
	}
	var control, got int
	var from unix.Sockaddr
	_, err = again(func() (n int, err error) {
		n, control, flags, from, err = unix.Recvmsg(c.fd, c.buffer, room, flags|unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		got = n
		return n, err
	})
	item.From = rawName(from)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return item, false, nil
	case err != nil:
		return item, false, os.NewSyscallError("recvmsg(MSG_PEEK)", err)
	}
	item.Data = append([]byte{}, c.buffer[:got]...)
	messages, err := unix.ParseSocketControlMessage(room[:control])
	if err != nil {
		return item, false, fmt.Errorf("control messages: %w", err)
	}
	for i := range messages {
		if messages[i].Header.Level != unix.SOL_SOCKET {
			continue
		}
		if messages[i].Header.Type == unix.SCM_PIDFD { // with SO_PASSPIDFD each peek makes one
			closePIDFD(messages[i].Data)
		}
		if messages[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return item, false, fmt.Errorf("files that came along: %w", err)
		}
		for _, fd := range fds {
			item.Files = append(item.Files, c.l.token(fd))
			_ = unix.Close(fd)
		}
	}
	if flags&unix.MSG_TRUNC != 0 || flags&unix.MSG_CTRUNC != 0 {
		return item, false, errors.New("a message is larger than a look takes")
	}
	return item, true, nil
}

// closePIDFD closes what an SCM_PIDFD has brought, if it is no errno.
func closePIDFD(data []byte) {
	if len(data) < 4 {
		return
	}
	if fd := int32(binary.NativeEndian.Uint32(data)); fd >= 0 {
		_ = unix.Close(int(fd))
	}
}

// messages looks at datagrams or packets. A first one that is empty is seen without an
// offset, others only if nobody has peeked at them: the kernel marks them then.
func (c *liveCopy) messages(kindOf, bytes int) (items []kind.LiveItem, err error) {
	shut := c.receivesNoMore()
	ended := func(i kind.LiveItem) bool {
		return kindOf == unix.SOCK_SEQPACKET && shut && len(i.Data)+len(i.Files) == 0 && bytes <= 0
	}
	if err := c.peekAt(-1); err != nil {
		return nil, err
	}
	first, ok, err := c.peek(0)
	if !ok || err != nil || ended(first) {
		return nil, err
	}
	if len(first.Data) == 0 {
		items = append(items, first)
	}
	if err := c.peekAt(0); err != nil {
		return nil, err
	}
	for len(items) < mostItems {
		item, ok, err := c.peek(0)
		if !ok || err != nil || ended(item) {
			return items, err
		}
		bytes -= len(item.Data)
		items = append(items, item)
	}
	return items, fmt.Errorf("more than %d messages wait", mostItems)
}

func (c *liveCopy) receivesNoMore() bool {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLRDHUP}}
	_, err := again(func() (int, error) { return unix.Poll(fds, 0) })
	return err == nil && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0
}

// stream looks at bytes. A peek ends behind those that files came with, and before an
// out-of-band byte, of which there is one at most. That byte stands among the others, or
// is passed over, if it is the first. Behind the last one a failed socket would give its
// error, once: that is left to whoever reads it.
func (c *liveCopy) stream(waiting int, failed bool) (items []kind.LiveItem, err error) {
	urgent, isUrgent := c.outOfBand()
	if isUrgent && failed {
		return nil, errFailed
	}
	if err := c.peekAt(0); err != nil {
		return nil, err
	}
	total := 0
	for !failed || total < waiting {
		item, ok, err := c.peek(0)
		if err != nil {
			return nil, err
		}
		if !ok || len(item.Data) == 0 {
			break
		}
		total += len(item.Data)
		if last := len(items) - 1; last >= 0 && len(items[last].Files) == 0 && len(items[last].Data) == len(c.buffer) {
			items[last].Data, items[last].Files = append(items[last].Data, item.Data...), item.Files // the buffer was full
			continue
		}
		items = append(items, item)
		if len(items) > mostItems {
			return items, fmt.Errorf("more than %d items wait", mostItems)
		}
	}
	if !isUrgent {
		return items, nil
	}
	byItself := kind.LiveItem{Data: []byte{urgent}, OOB: true}
	if total < waiting { // it was passed over
		return append([]kind.LiveItem{byItself}, items...), nil
	}
	for i := range items {
		boundary := i == 0 || len(items[i-1].Files) == 0
		if !boundary || items[i].Data[0] != urgent || i == 0 && !c.atMark() {
			continue
		}
		rest := items[i]
		rest.Data = rest.Data[1:]
		behind := append([]kind.LiveItem{byItself}, items[i+1:]...)
		if len(rest.Data) > 0 {
			behind = append([]kind.LiveItem{byItself, rest}, items[i+1:]...)
		}
		return append(items[:i:i], behind...), nil
	}
	return items, errors.New("an out-of-band byte waits, and where it stands is not visible")
}

// outOfBand gives the out-of-band byte, if there is one.
func (c *liveCopy) outOfBand() (b byte, ok bool) {
	one := make([]byte, 1)
	n, err := again(func() (int, error) {
		n, _, err := unix.Recvfrom(c.fd, one, unix.MSG_OOB|unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return n, err
	})
	return one[0], err == nil && n == 1
}

// atMark reports whether the out-of-band byte is the first that waits.
func (c *liveCopy) atMark() bool {
	at, err := unix.IoctlGetInt(c.fd, siocAtMark)
	return err == nil && at != 0
}

// token stands for an open file of this process's that may be one of the tree's, until
// these have names.
func (l *look) token(fd int) string {
	d := descriptor{fd: fd}
	var err error
	if d.info, err = proc.ReadFDInfo(proc.Caller, fd); err != nil {
		return ""
	}
	d.info.Flags &^= unix.O_CLOEXEC
	c := l.find(&d)
	if c == nil {
		return ""
	}
	return l.tokenFor(c)
}

// tokenFor stands for an open file of the tree, until these have names.
func (l *look) tokenFor(c *class) string {
	l.tokens = append(l.tokens, c)
	return fmt.Sprintf("#%d", len(l.tokens)-1)
}
