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
// whoever has something to say, and an answer never waits for its reader, since a
// channel has one request under way.
type server struct {
	number uint64
	poll   int // of epoll(7)
	owner  int // the owner's channel, -1: not yet there
	files  map[ID]int
	sealed bool
}

// serve answers until the owner is gone.
func serve() {
	number, word, _, _, err := receive(doorFD)
	if err != nil || kindOf(word) != kindHello {
		exit(1)
	}
	s := &server{number: number, owner: -1, files: map[ID]int{}}
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
				s.open()
			} else if err := s.request(int(e.Fd)); err != nil {
				s.leave(int(e.Fd))
			}
		}
	}
}

func (s *server) watch(fd int) error {
	return unix.EpollCtl(s.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// open takes a new channel through the door. The end of the door, which all have
// let go of, is the end of the service.
func (s *server) open() {
	number, word, channel, n, err := receive(doorFD)
	switch {
	case errors.Is(err, ErrNoDescriptors), errors.Is(err, ErrProtocol):
		return // its end is closed: whoever sent it sees the end of its channel
	case err != nil || n == 0:
		exit(0)
	case channel < 0:
		return
	case number != s.number || word != OpenWord || s.watch(channel) != nil:
		_ = unix.Close(channel)
		return
	}
	if s.owner < 0 {
		s.owner = channel
	}
}

// leave closes a channel. The end of the owner's is the end of the service.
func (s *server) leave(channel int) {
	if channel == s.owner {
		exit(0)
	}
	_ = unix.Close(channel)
}

// errLeft says that a channel has ended, or says what no client says.
var errLeft = errors.New("channel has ended")

// request takes one request and answers it.
func (s *server) request(channel int) error {
	number, word, file, n, err := receive(channel)
	if err != nil && !errors.Is(err, ErrNoDescriptors) || n == 0 || number != s.number {
		if file >= 0 {
			_ = unix.Close(file)
		}
		return errLeft
	}
	got, errno := s.answer(word, file, err)
	if errno != 0 {
		if file >= 0 {
			_ = unix.Close(file)
		}
		return send(channel, s.number, failedWord(word, errno), -1, unix.MSG_DONTWAIT)
	}
	err = send(channel, s.number, word, got, unix.MSG_DONTWAIT)
	if errno, ok := errors.AsType[unix.Errno](err); ok && !errors.Is(err, ErrClosed) {
		return send(channel, s.number, failedWord(word, errno), -1, unix.MSG_DONTWAIT) // a file that cannot be sent
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
