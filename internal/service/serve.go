package service

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Init becomes the service, and does not return, if this process was started to
// be one. Call it first of all in main, before flags are looked at and files are
// opened. In any other process it only notes that it was called.
func Init() {
	initialized.Store(true)
	if os.Getenv(guardEnv) == "" {
		return
	}
	kind, err := unix.GetsockoptInt(doorFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return // the variable is somebody else's
	}
	unix.CloseOnExec(doorFD)
	serve()
}

// server is the state of the process. One thread does everything: it waits for
// whoever has something to say, and for nobody else. It neither waits for a message
// that was there and is gone, nor for the reader of an answer, and what it does not
// keep others close for it.
type server struct {
	number uint64
	poll   int // of epoll(7)
	owner  int // the owner's channel, -1: not yet there
	files  map[ID]int
	sealed bool
	closer chan struct{} // has room for those that close at one time
}

// closers is how many threads may wait at one time for what is to be closed.
const closers = 16

// discard closes files that clients have sent, in a thread of its own: a close
// waits for the network (SO_LINGER) or for a file server (FUSE), which may be a
// client's.
func (s *server) discard(files ...int) {
	for _, fd := range files {
		go func() {
			s.closer <- struct{}{}
			_ = unix.Close(fd)
			<-s.closer
		}()
	}
}

// serve answers until the owner is gone.
func serve() {
	hello, err := receive(doorFD, 0)
	if err != nil || kindOf(hello.word) != kindHello {
		exit(1)
	}
	s := &server{number: hello.number, owner: -1, files: map[ID]int{}, closer: make(chan struct{}, closers)}
	if s.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		exit(1)
	}
	if err := s.watch(doorFD); err != nil {
		exit(1)
	}
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(s.poll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			exit(1)
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == doorFD {
				s.open(e.Events)
			} else if err := s.request(int(e.Fd)); err != nil {
				s.leave(int(e.Fd))
			}
		}
	}
}

func (s *server) watch(fd int) error {
	return unix.EpollCtl(s.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)})
}

// open takes a new channel through the door. When all others have let go of the
// door before there is an owner, nobody will come. Afterwards the owner's channel
// says when to end: a client can shut the door (shutdown(2)), or send nothing.
func (s *server) open(events uint32) {
	m, err := receive(doorFD, unix.MSG_DONTWAIT)
	if errors.Is(err, unix.EAGAIN) {
		return
	}
	const ended = unix.EPOLLHUP | unix.EPOLLRDHUP | unix.EPOLLERR
	if events&ended != 0 && m.bytes == 0 {
		if s.owner < 0 || unix.EpollCtl(s.poll, unix.EPOLL_CTL_DEL, doorFD, nil) != nil {
			exit(0)
		}
	}
	channel, fileErr := m.file()
	// Whoever sent something else sees the end of its channel.
	if err != nil || fileErr != nil || channel < 0 || m.number != s.number || m.word != OpenWord || !isChannel(channel) || s.watch(channel) != nil {
		s.discard(m.files...)
		return
	}
	if s.owner < 0 {
		s.owner = channel
	}
}

// isChannel reports whether a file is the end of a pair as [Open] makes it. Other
// sockets have rules of their own for when they are readable.
func isChannel(fd int) bool {
	domain, err1 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	kind, err2 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err1 == nil && err2 == nil && domain == unix.AF_UNIX && kind == unix.SOCK_SEQPACKET
}

// leave closes a channel. The end of the owner's is the end of the service.
func (s *server) leave(channel int) {
	if channel == s.owner {
		exit(0)
	}
	// epoll watches the open file, and the client may hold it, too.
	_ = unix.EpollCtl(s.poll, unix.EPOLL_CTL_DEL, channel, nil)
	s.discard(channel)
}

// errLeft says that a channel has ended, or says what no client says.
var errLeft = errors.New("channel has ended")

// request takes one request and answers it.
func (s *server) request(channel int) error {
	m, err := receive(channel, unix.MSG_DONTWAIT)
	if errors.Is(err, unix.EAGAIN) {
		return nil // the client has the other end, too, and was faster
	}
	file, fileErr := m.file()
	if err != nil || m.bytes == 0 || m.number != s.number || errors.Is(fileErr, ErrProtocol) {
		s.discard(m.files...)
		return errLeft
	}
	got, errno := s.answer(m.word, file, fileErr)
	if errno != 0 {
		s.discard(m.files...)
		return send(channel, s.number, failedWord(m.word, errno), -1, unix.MSG_DONTWAIT)
	}
	if kindOf(m.word) != kindPush {
		s.discard(m.files...) // nobody asked for them
	}
	err = send(channel, s.number, m.word, got, unix.MSG_DONTWAIT)
	if errno, ok := errors.AsType[unix.Errno](err); ok && !errors.Is(err, ErrClosed) {
		return send(channel, s.number, failedWord(m.word, errno), -1, unix.MSG_DONTWAIT) // a file that cannot be sent
	}
	return err
}

// answer does what is asked. file came with the request, -1 for none.
func (s *server) answer(word uint64, file int, err error) (got int, errno unix.Errno) {
	id := ID(word)
	kept, there := s.files[id]
	switch kind := kindOf(word); {
	case err != nil:
		return -1, unix.EMFILE
	case kind == kindPop && !there:
		return -1, unix.ENOENT
	case kind == kindPop:
		return kept, 0
	case kind == kindSeal:
		s.sealed = true
		return -1, 0
	case kind == kindHello:
		return -1, 0
	case kind != kindPush || file < 0:
		return -1, unix.EINVAL
	case s.sealed:
		return -1, unix.EROFS
	case there:
		return -1, unix.EEXIST
	case len(s.files) >= MaxFiles:
		return -1, unix.ENFILE
	}
	s.files[id] = file
	return -1, 0
}

// exit ends the process: it is the service and nothing else.
func exit(status int) {
	os.Exit(status) //nolint:forbidigo // this process was started to be the service; nobody is there to return to
}
