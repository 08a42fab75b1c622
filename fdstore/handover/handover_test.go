//go:build linux

package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
)

// one is a server in this process that a test can end.
type one struct {
	address string
	end     context.CancelFunc
	served  chan error
	states  chan http.ConnState
}

func serving(t *testing.T, h http.HandlerFunc, o Options) *one {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	s := &one{l.Addr().String(), end, make(chan error, 1), make(chan http.ConnState, 10_000)}
	srv := &http.Server{Handler: h, ConnState: func(_ net.Conn, state http.ConnState) {
		select {
		case s.states <- state:
		default: // the test no longer reads
		}
	}}
	go func() { s.served <- Serve(ctx, srv, l, o) }()
	t.Cleanup(end)
	return s
}

// state waits until a connection has a state.
func (s *one) state(t *testing.T, want http.ConnState) {
	t.Helper()
	for {
		select {
		case got := <-s.states:
			if got == want {
				return
			}
		case <-time.After(patience):
			t.Fatalf("no connection is %v", want)
		}
	}
}

// ends ends the server and waits until it no longer listens.
func (s *one) ends(t *testing.T) {
	t.Helper()
	s.end()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", s.address)
		if errors.Is(err, unix.ECONNREFUSED) {
			return
		}
		if err == nil {
			conn.Close()
		}
		if time.Now().After(deadline) {
			t.Fatal("it listens still")
		}
	}
}

func (s *one) result(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.served:
		return err
	case <-time.After(patience):
		t.Fatal("it does not end")
		return nil
	}
}

func echo(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }

func dial(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

func post(t *testing.T, conn net.Conn, r *bufio.Reader, text string) *http.Response {
	t.Helper()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%q is lost: %v", text, err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(got) != text {
		t.Errorf("%q, %v; want %q", got, err, text)
	}
	return resp
}

// TestLastRequest sends requests when the server has begun to end: the first one on an
// accepted connection, and one on an idle connection. Both must be answered, with
// "Connection: close".
func TestLastRequest(t *testing.T) {
	s := serving(t, echo, Options{Idle: patience})
	fresh, freshReader := dial(t, s.address)
	s.state(t, http.StateNew)
	kept, keptReader := dial(t, s.address)
	if resp := post(t, kept, keptReader, "early"); resp.Close {
		t.Error("the server closes a connection before it ends")
	}
	s.state(t, http.StateIdle)
	s.ends(t)
	for _, c := range []struct {
		conn net.Conn
		r    *bufio.Reader
	}{{kept, keptReader}, {fresh, freshReader}} {
		if resp := post(t, c.conn, c.r, "late"); !resp.Close {
			t.Error("the answer has no Connection: close")
		}
		if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection's end: %v", err)
		}
	}
	if err := s.result(t); err != nil {
		t.Error(err)
	}
}

// TestIdle checks that the server ends although clients keep connections without a
// request.
func TestIdle(t *testing.T) {
	s := serving(t, echo, Options{Idle: time.Millisecond})
	_, fresh := dial(t, s.address)
	s.state(t, http.StateNew)
	conn, kept := dial(t, s.address)
	post(t, conn, kept, "early")
	s.state(t, http.StateIdle)
	s.end()
	if err := s.result(t); err != nil {
		t.Error(err)
	}
	for _, r := range []*bufio.Reader{fresh, kept} {
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection's end: %v", err)
		}
	}
}

// TestLimit checks that a request that does not end is closed after the limit.
func TestLimit(t *testing.T) {
	s := serving(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Options{Limit: 10 * time.Millisecond})
	conn, _ := dial(t, s.address)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	s.state(t, http.StateActive)
	s.end()
	if err := s.result(t); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestServeFails checks the error of a server that cannot serve.
func TestServeFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := Serve(t.Context(), &http.Server{}, l, Options{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// TestNextFails starts a next generation that fails. The old one must continue to serve,
// until a next generation succeeds.
func TestNextFails(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	t.Setenv(markEnv, mark)
	s := start(t)
	before, err := askOnce(s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.signal(unix.SIGUSR1)
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(mark); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the next generation is not started")
		}
	}
	for range 20 {
		if now, err := askOnce(s.address); err != nil || now != before {
			t.Errorf("%q, %v; want %q", now, err, before)
		}
	}
	s.handOver()
	s.end()
}

// TestNotReady checks the error of Next for a program that ends, one that is never ready,
// and one that does not exist.
func TestNotReady(t *testing.T) {
	p, err := Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Next(t.Context(), exec.Command("sh", "-c", "exit 7")); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("a program that ends: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	silent := exec.Command("sleep", "1000")
	if err := p.Next(ctx, silent); !errors.Is(err, ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a program that is never ready: %v", err)
	}
	if err := unix.Kill(silent.Process.Pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the program still runs: %v", err)
	}
	if err := p.Next(t.Context(), exec.Command("/nonexistent")); !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrNotReady) {
		t.Errorf("a program that does not exist: %v", err)
	}
	l, err := p.Listen("late", "tcp", "127.0.0.1:0") // this process can still become the writer
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	ready := exec.Command("sh", "-c", `eval "printf x >&$FDSTORE_HANDOVER_READY"`)
	if err := p.Next(t.Context(), ready); err != nil {
		t.Error(err)
	}
	if err := p.Next(t.Context(), exec.Command("true")); !errors.Is(err, ErrHandedOver) {
		t.Errorf("a second Next: %v", err)
	}
}

// given makes a Process with the store of another Process, like a next generation.
func given(t *testing.T, p *Process) *Process {
	t.Helper()
	if err := p.Store().Resign(); err != nil { // as Next does
		t.Fatal(err)
	}
	root, err := unix.FcntlInt(uintptr(p.Store().FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := fdstore.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	next := &Process{store: s}
	t.Cleanup(func() { next.Close() })
	return next
}

// TestListen gets listeners of the store by their names, and new ones in any generation.
func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	p, err := Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	listen := func(p *Process, name, network, address string) string {
		t.Helper()
		l, err := p.Listen(name, network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	web := listen(p, "web", "tcp", "127.0.0.1:0")
	local := listen(p, "local", "unix", path)
	second := given(t, p)
	if got := listen(second, "web", "tcp", "127.0.0.1:0"); got != web {
		t.Errorf("web is %s, was %s", got, web)
	}
	admin := listen(second, "admin", "tcp", "127.0.0.1:0")
	third := given(t, second)
	p.Close()
	second.Close()
	for name, want := range map[string]string{"web": web, "admin": admin} {
		if got := listen(third, name, "tcp", want); got != want {
			t.Errorf("%s is %s, was %s", name, got, want)
		}
	}
	if got := listen(third, "local", "unix", path); got != local {
		t.Errorf("local is %s, was %s", got, local)
	}
	for _, c := range [][3]string{
		{"web", "tcp", "127.0.0.1:1"},
		{"web", "tcp", ":0"},
		{"web", "tcp", "127.0.0.2:0"},
		{"local", "unix", path + "2"},
	} {
		if l, err := third.Listen(c[0], c[1], c[2]); !errors.Is(err, ErrAddress) {
			t.Errorf("%v: %v, %v", c, l, err)
		}
	}
	// The socket listens as long as one Process has the store.
	conn, err := net.Dial("tcp", web)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	third.Close()
	if _, err := net.Dial("tcp", web); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after the last Close: %v", err)
	}
}

// TestBegin checks that Begin refuses an environment that names something else than a
// pipe.
func TestBegin(t *testing.T) {
	for _, value := range []string{"x", "-1", "99999"} {
		t.Setenv(EnvReady, value)
		if p, err := Begin(); err == nil {
			p.Close()
			t.Errorf("%q is accepted", value)
		}
	}
}
