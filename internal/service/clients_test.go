package service

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestClientsThatBlock holds that none of what a client can send makes the service
// wait or end: others get their files.
func TestClientsThatBlock(t *testing.T) {
	for name, attack := range map[string]func(*testing.T, *Service){
		"a socket that is readable and has too little": lowWater,
		"a request that is taken back":                 takenBack,
		"files whose close waits":                      lingering,
		"nothing":                                      func(t *testing.T, s *Service) { empty(t, s.Door()) },
		"the end of the door":                          func(t *testing.T, s *Service) { shut(t, s.Door(), unix.SHUT_WR) },
		"both ends of the door":                        func(t *testing.T, s *Service) { shut(t, s.Door(), unix.SHUT_RDWR) },
		"the end of a channel":                         func(t *testing.T, s *Service) { shut(t, opened(t, s).fd, unix.SHUT_RDWR) },
		"nothing in a channel":                         func(t *testing.T, s *Service) { empty(t, opened(t, s).fd) },
	} {
		t.Run(name, func(t *testing.T) {
			s := started(t)
			if err := s.Push(1, int(numbered(t, 1).Fd())); err != nil {
				t.Fatal(err)
			}
			other := opened(t, s)
			attack(t, s)
			for _, c := range []*Channel{s.Channel, other} {
				f, err := c.Pop(1)
				if err != nil {
					t.Fatal(err)
				}
				if got := holds(t, f); got != "1" {
					t.Errorf("got %q", got)
				}
				f.Close()
			}
		})
	}
}

func opened(t *testing.T, s *Service) *Channel {
	t.Helper()
	c, err := Open(s.Door(), s.Number(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// pair gives two ends of a pair, which the test closes.
func pair(t *testing.T, kind int) [2]int {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p
}

// lowWater gives a stream socket for a channel: poll says that it is readable as
// soon as there is a byte, and a receive waits for as many as SO_RCVLOWAT says.
func lowWater(t *testing.T, s *Service) {
	p := pair(t, unix.SOCK_STREAM)
	if err := unix.SetsockoptInt(p[1], unix.SOL_SOCKET, unix.SO_RCVLOWAT, MessageSize); err != nil {
		t.Fatal(err)
	}
	if err := send(s.Door(), s.Number(), OpenWord, p[1], 0); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(p[0], []byte{1}); err != nil && !errors.Is(err, unix.EPIPE) {
		t.Fatal(err)
	}
}

// takenBack keeps the service's end of a channel and receives there itself.
func takenBack(t *testing.T, s *Service) {
	p := pair(t, unix.SOCK_SEQPACKET)
	if err := send(s.Door(), s.Number(), OpenWord, p[1], 0); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		if err := send(p[0], s.Number(), PopWord(1), -1, 0); err != nil {
			t.Fatal(err)
		}
		_, _ = receive(p[1], unix.MSG_DONTWAIT)
		m, _ := receive(p[0], unix.MSG_DONTWAIT)
		for _, fd := range m.files {
			unix.Close(fd)
		}
	}
}

// lingering pushes sockets under an ID that is taken. The service has the last
// descriptor of each, and its close waits for data that nobody will ever read.
func lingering(t *testing.T, s *Service) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := opened(t, s)
	for range closers + 4 { // more than close at one time
		conn, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
		if err != nil {
			t.Fatal(err)
		}
		peer, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { peer.Close() })
		if err := conn.SetLinger(1000); err != nil {
			t.Fatal(err)
		}
		f, err := conn.File()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 1<<16); ; { // until no queue has room
			if err := unix.Send(fd, b, unix.MSG_DONTWAIT); err != nil {
				break
			}
		}
		// Let go of it while it is on its way, so that the service has the last one.
		stop(t, s.PID())
		err = send(c.fd, s.Number(), pushWord(1), fd, 0)
		unix.Close(fd)
		if killErr := unix.Kill(s.PID(), unix.SIGCONT); err != nil || killErr != nil {
			t.Fatal(err, killErr)
		}
		if m, err := receive(c.fd, 0); err != nil || kindOf(m.word) != kindFailed {
			t.Fatalf("%#x, %v", m.word, err)
		}
	}
}

// stop stops a child and returns when it has stopped.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	err := ignoringEINTR(func() error { return unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED, nil) })
	if err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, fd int) {
	t.Helper()
	if err := unix.Sendmsg(fd, nil, nil, nil, unix.MSG_NOSIGNAL); err != nil {
		t.Fatal(err)
	}
}

func shut(t *testing.T, fd, how int) {
	t.Helper()
	if err := unix.Shutdown(fd, how); err != nil {
		t.Fatal(err)
	}
}

// TestCloseAtOnce closes a service and a channel in many goroutines while others
// ask: one close does it, and no number is closed twice, which would be somebody
// else's file by then.
func TestCloseAtOnce(t *testing.T) {
	const closing = 8
	for range 20 {
		s := started(t)
		if err := s.Push(1, int(numbered(t, 1).Fd())); err != nil {
			t.Fatal(err)
		}
		c := opened(t, s)
		errs := make(chan error, 2*closing)
		var wg sync.WaitGroup
		for range closing {
			wg.Go(func() { errs <- s.Close() })
			wg.Go(func() { errs <- c.Close() })
			wg.Go(func() {
				for {
					f, err := c.Pop(1)
					if err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
					f.Close()
				}
			})
			wg.Go(func() { // takes each number that is closed, and sees if it is closed again
				for range 50 {
					f, err := os.Open(os.DevNull)
					if err != nil {
						t.Error(err)
						return
					}
					if err := f.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		close(errs)
		done := 0
		for err := range errs {
			if err == nil {
				done++
			} else if !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
		if done != 2 {
			t.Errorf("%d closes say that they have closed something, want 2", done)
		}
		if s.Door() != -1 {
			t.Errorf("the door is %d", s.Door())
		}
	}
}

// TestCloseWhileAsking closes a channel whose service does not answer.
func TestCloseWhileAsking(t *testing.T) {
	p := pair(t, unix.SOCK_SEQPACKET)
	fd, err := unix.FcntlInt(uintptr(p[0]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &Channel{fd: fd, number: 1}
	asked := make(chan error)
	go func() {
		_, err := c.Pop(1)
		asked <- err
	}()
	if _, err := receive(p[1], 0); err != nil { // it waits for the answer now, or is about to
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-asked:
		if !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it waits for ever")
	}
}

// TestLateAnswer holds that an answer which comes too late is not taken for that
// of the next request.
func TestLateAnswer(t *testing.T) {
	p := pair(t, unix.SOCK_SEQPACKET)
	fd, err := unix.FcntlInt(uintptr(p[0]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &Channel{fd: fd, number: 1}
	defer c.Close()
	if err := setTimeout(fd, unix.SO_RCVTIMEO, 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pop(1); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	old := numbered(t, 1)
	if err := send(p[1], 1, PopWord(1), int(old.Fd()), 0); err != nil {
		t.Fatal(err)
	}
	if f, err := c.Pop(1); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, %v", f, err)
	}
}
