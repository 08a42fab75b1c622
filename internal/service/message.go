package service

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MessageSize is the size of every message in bytes.
const MessageSize = 16

// MaxFiles is how many files a service keeps at most.
const MaxFiles = 1 << 16

// ID is the number under which a file is pushed and popped. The owner chooses it.
type ID uint32

// The kinds of messages.
const (
	kindHello = 1 + iota
	kindOpen
	kindPush
	kindPop
	kindSeal
	kindFailed
)

const (
	kindShift  = 56
	errnoShift = 32
	errnoMask  = 1<<16 - 1
)

// OpenWord is the word of the message that brings the service's end of a channel
// through the door.
const OpenWord uint64 = kindOpen << kindShift

// PopWord is the word of a request for a file, and of its answer.
func PopWord(id ID) uint64 { return kindPop<<kindShift | uint64(id) }

func pushWord(id ID) uint64 { return kindPush<<kindShift | uint64(id) }

func kindOf(word uint64) uint64 { return word >> kindShift }

// failedWord answers a request that failed.
func failedWord(word uint64, errno unix.Errno) uint64 {
	return kindFailed<<kindShift | uint64(errno)<<errnoShift | word&(1<<32-1)
}

func errnoOf(word uint64) unix.Errno { return unix.Errno(word >> errnoShift & errnoMask) }

func encode(number, word uint64) []byte {
	b := binary.NativeEndian.AppendUint64(make([]byte, 0, MessageSize), number)
	return binary.NativeEndian.AppendUint64(b, word)
}

func decode(b []byte) (number, word uint64, ok bool) {
	if len(b) != MessageSize {
		return 0, 0, false
	}
	return binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:]), true
}

// Errors of this package, matched with [errors.Is].
var (
	// ErrNoInit means that this program does not call [Init] and gave no
	// command: started again, it would not be a service.
	ErrNoInit = errors.New("the program does not call service.Init")
	// ErrClosed means that the service or the channel was closed, or has died.
	ErrClosed = errors.New("service is closed")
	// ErrTimeout means that no answer came in time. The channel is of no use any
	// more.
	ErrTimeout = errors.New("no answer of the service")
	// ErrNotFound means that no file was pushed with this ID. Wraps ENOENT.
	ErrNotFound = errors.New("no such file")
	// ErrTaken means that a file was pushed with this ID before. Wraps EEXIST.
	ErrTaken = errors.New("the ID is taken")
	// ErrFull means that the service keeps [MaxFiles] files, or has no room in
	// its descriptor table. Wraps ENFILE or EMFILE.
	ErrFull = errors.New("service is full")
	// ErrSealed means that nothing more can be pushed. Wraps EROFS.
	ErrSealed = errors.New("service is sealed")
	// ErrProtocol means that an answer is none to the request.
	ErrProtocol = errors.New("not an answer of this service")
	// ErrNoDescriptors means that the popped file did not fit into this
	// process's descriptor table.
	ErrNoDescriptors = errors.New("no free descriptor for the file")
)

// failure gives the error of an answer.
func failure(errno unix.Errno) error {
	for _, f := range []struct {
		errno unix.Errno
		err   error
	}{
		{unix.ENOENT, ErrNotFound}, {unix.EEXIST, ErrTaken}, {unix.ENFILE, ErrFull}, {unix.EMFILE, ErrFull}, {unix.EROFS, ErrSealed},
	} {
		if f.errno == errno {
			return fmt.Errorf("%w: %w", f.err, errno)
		}
	}
	return errno
}

// message is what was received. 0 bytes are the end of the stream, or a message of
// 0 bytes, which the kernel does not tell apart.
type message struct {
	number, word uint64
	bytes        int
	files        []int // all that came; whoever receives closes them
	truncated    bool  // there were more, for which there was no room
}

// receive takes one message. With MSG_DONTWAIT in flags it does not wait for one,
// whatever kind of socket it is and whoever else reads there.
func receive(fd, flags int) (m message, err error) {
	var b [MessageSize + 1]byte
	oob := make([]byte, unix.CmsgSpace(2*4))
	var oobn, came int
	err = ignoringEINTR(func() (err error) {
		m.bytes, oobn, came, _, err = unix.Recvmsg(fd, b[:], oob, unix.MSG_CMSG_CLOEXEC|flags)
		return err
	})
	if err != nil {
		return message{}, os.NewSyscallError("recvmsg", err)
	}
	m.truncated = came&unix.MSG_CTRUNC != 0
	m.number, m.word, _ = decode(b[:m.bytes])
	controls, err := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range controls {
		if rights, err := unix.ParseUnixRights(&controls[i]); err == nil {
			m.files = append(m.files, rights...)
		}
	}
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return m, nil
}

// file gives the one file of a message, -1 if it brought none.
func (m *message) file() (int, error) {
	switch {
	case m.truncated:
		return -1, ErrNoDescriptors
	case len(m.files) > 1:
		return -1, ErrProtocol
	case len(m.files) == 0:
		return -1, nil
	}
	return m.files[0], nil
}

// send sends one message, with a descriptor if file is not negative. It waits
// while the queue is full, as long as the socket's SO_SNDTIMEO says, unless flags
// has MSG_DONTWAIT.
func send(fd int, number, word uint64, file, flags int) error {
	var oob []byte
	if file >= 0 {
		oob = unix.UnixRights(file)
	}
	err := ignoringEINTR(func() error {
		return unix.Sendmsg(fd, encode(number, word), oob, nil, unix.MSG_NOSIGNAL|flags)
	})
	switch {
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w: %w", ErrTimeout, os.NewSyscallError("sendmsg", err))
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return fmt.Errorf("%w: %w", ErrClosed, os.NewSyscallError("sendmsg", err))
	}
	return os.NewSyscallError("sendmsg", err)
}

// ignoringEINTR repeats a call that a signal interrupted before it has done anything.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
