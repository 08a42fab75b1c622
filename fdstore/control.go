//go:build linux

package fdstore

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// fdSize is the size of a descriptor in a control message, a C int.
const fdSize = 4

// control has the descriptors of a received message.
type control struct {
	files  []int // of SCM_RIGHTS, in the sender's order
	strays []int // of SCM_PIDFD, which a holder may switch on (SO_PASSPIDFD, since Linux 6.5)
}

// parse stores all descriptors in b in the fields, whose memory it reuses. It stops at
// bytes that are not a control message. The descriptors before these are kept: they
// are open and must be closed.
func (c *control) parse(b []byte) {
	c.files, c.strays = c.files[:0], c.strays[:0]
	for len(b) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return
		}
		if h.Level == unix.SOL_SOCKET {
			switch h.Type {
			case unix.SCM_RIGHTS:
				c.files = appendFDs(c.files, data)
			case unix.SCM_PIDFD:
				c.strays = appendFDs(c.strays, data)
			}
		}
		b = rest
	}
}

// close closes all descriptors. It ignores errors: the descriptor is closed in any case
// (close(2)), and this process has not written to it.
func (c *control) close() {
	for _, fd := range c.files {
		_ = unix.Close(fd)
	}
	c.closeStrays()
	c.files = c.files[:0]
}

func (c *control) closeStrays() {
	for _, fd := range c.strays {
		_ = unix.Close(fd)
	}
	c.strays = c.strays[:0]
}

// appendFDs skips negative numbers: SCM_PIDFD carries an errno if the kernel could not
// make a descriptor.
func appendFDs(fds []int, data []byte) []int {
	for ; len(data) >= fdSize; data = data[fdSize:] {
		if fd := int(int32(binary.NativeEndian.Uint32(data))); fd >= 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}
