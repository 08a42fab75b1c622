//go:build linux

package handover

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/test/rounds"
)

// TestNoRequestFails replaces a server five times while clients send requests without a
// pause: over kept connections and over new ones, by GET and by POST. Each answer must be
// right, and no request may be lost or repeated.
func TestNoRequestFails(t *testing.T) {
	const handovers = 5
	want := int64(rounds.Of(t, "REGROW_TEST_REQUESTS", 3000, 15_000))
	s := start(t)
	load := newLoad(t, s.address)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, keep := range []bool{true, false} {
			for range 2 {
				load.run(func() error { return strict(load, method, keep) })
			}
			load.run(func() error { return library(load, method, keep) })
		}
	}
	load.run(func() error { return slow(load) })

	for n := range int64(handovers) {
		load.await(func() bool { return load.done.Load() >= (n+1)*want/(handovers+1) && load.generation.Load() == n+1 })
		s.handOver()
	}
	load.await(func() bool { return load.done.Load() >= want && load.generation.Load() == handovers+1 })
	load.end()
	t.Logf("%d requests, %d over %d connections that were kept, %d slow ones; %d failed",
		load.done.Load(), load.kept.Load(), load.conns.Load(), load.slow.Load(), load.failed.Load())
	if load.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", load.failed.Load(), load.done.Load())
	}
	s.end()
}

// served is a server under test with all its generations.
type served struct {
	t       *testing.T
	address string
	pid     int
}

// start starts the first generation. Each later generation becomes a child of this
// process when the previous one has ended.
func start(t *testing.T) *served {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), serverEnv+"=serves", generationEnv+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, pid: cmd.Process.Pid}
	t.Cleanup(func() {
		if s.pid != 0 { // the test has failed
			_ = unix.Kill(s.pid, unix.SIGKILL)
			_, _ = unix.Wait4(s.pid, nil, 0, nil)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	out.Close()
	if err != nil {
		t.Fatal(err)
	}
	s.address = strings.TrimSpace(line)
	return s
}

// handOver replaces the server and waits until the old process has ended with status 0.
func (s *served) handOver() {
	s.t.Helper()
	old := s.pid
	s.signal(unix.SIGHUP)
	s.gone(old)
	// From now on the next generation answers.
	body, err := askOnce(s.address)
	if _, scanErr := fmt.Sscanf(body, "%d %d", new(int), &s.pid); err != nil || scanErr != nil || s.pid == old {
		s.t.Fatalf("%q, %v, %v", body, err, scanErr)
	}
}

func (s *served) signal(sig unix.Signal) {
	s.t.Helper()
	if err := unix.Kill(s.pid, sig); err != nil {
		s.t.Fatal(err)
	}
}

// gone waits for a generation, which is this process's child.
func (s *served) gone(pid int) {
	s.t.Helper()
	var status unix.WaitStatus
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		switch {
		case got == pid && status.Exited() && status.ExitStatus() == 0:
			return
		case got == pid:
			s.pid = 0
			s.t.Fatalf("pid %d ended with status %#x", pid, int(status))
		case err != nil && !errors.Is(err, unix.EINTR):
			s.t.Fatal(err)
		case time.Now().After(deadline):
			s.t.Fatalf("pid %d does not end", pid)
		}
	}
}

func (s *served) end() {
	s.t.Helper()
	s.signal(unix.SIGTERM)
	s.gone(s.pid)
	s.pid = 0
	if _, err := net.Dial("tcp", s.address); !errors.Is(err, unix.ECONNREFUSED) {
		s.t.Errorf("the socket still listens: %v", err)
	}
}

func askOnce(address string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get("http://" + address)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// load is a number of clients that send requests until the test stops them.
type load struct {
	t       *testing.T
	address string
	ending  chan struct{}
	clients sync.WaitGroup

	done, failed, kept, conns, slow atomic.Int64
	generation                      atomic.Int64 // the newest that has answered
}

func newLoad(t *testing.T, address string) *load {
	l := &load{t: t, address: address, ending: make(chan struct{})}
	t.Cleanup(l.end)
	return l
}

// run has a client send requests again and again. It counts every failed request.
func (l *load) run(ask func() error) {
	l.clients.Go(func() {
		for !l.ends() {
			if err := ask(); err != nil {
				if l.failed.Add(1) <= 10 {
					l.t.Error(err)
				}
			}
		}
	})
}

func (l *load) ends() bool {
	select {
	case <-l.ending:
		return true
	default:
		return false
	}
}

func (l *load) end() {
	if !l.ends() {
		close(l.ending)
	}
	l.clients.Wait()
}

func (l *load) await(reached func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); !reached(); time.Sleep(time.Millisecond) {
		if l.failed.Load() > 100 || time.Now().After(deadline) {
			l.t.Fatalf("%d requests, %d failed, generation %d", l.done.Load(), l.failed.Load(), l.generation.Load())
		}
	}
}

// body is the body of a POST: larger than a packet.
var body = strings.Repeat("body ", 2000)

// check counts an answer.
func (l *load) check(method, got string) error {
	var generation int64
	var pid int
	if _, err := fmt.Sscanf(got, "%d %d", &generation, &pid); err != nil {
		return fmt.Errorf("%s: %q: %w", method, got, err)
	}
	want := ""
	if method == http.MethodPost {
		want = body
	}
	if _, text, _ := strings.Cut(got, fmt.Sprintf("%d ", pid)); text != want {
		return fmt.Errorf("%s: an answer of %d bytes, want %d", method, len(text), len(want))
	}
	for old := l.generation.Load(); generation > old; old = l.generation.Load() {
		l.generation.CompareAndSwap(old, generation)
	}
	l.done.Add(1)
	return nil
}

// strict is a client that never repeats a request: it writes each request once, to its
// connection or a new one, and counts the result. With keep it uses a connection until
// the server closes it with an answer.
func strict(l *load, method string, keep bool) error {
	conn, err := net.Dial("tcp", l.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	l.conns.Add(1)
	r := bufio.NewReader(conn)
	for first := true; !l.ends(); first = false {
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s / HTTP/1.1\r\nHost: test\r\n", method)
		if !keep {
			b.WriteString("Connection: close\r\n")
		}
		if method == http.MethodPost {
			fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
		} else {
			b.WriteString("\r\n")
		}
		last, err := exchange(l, method, conn, r, b.Bytes())
		if err != nil {
			return fmt.Errorf("%s, the first on its connection: %v: %w", method, first, err)
		}
		if keep {
			l.kept.Add(1)
		}
		if last {
			return nil
		}
	}
	return nil
}

// exchange sends one request and reads its answer. last: the connection is over.
func exchange(l *load, method string, conn net.Conn, r *bufio.Reader, request []byte) (last bool, err error) {
	if _, err := conn.Write(request); err != nil {
		return true, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return true, fmt.Errorf("status %d: %w", resp.StatusCode, err)
	}
	return resp.Close, l.check(method, string(got))
}

// library is a client of net/http that sends 20 requests over connections of its own.
func library(l *load, method string, keep bool) error {
	transport := &http.Transport{DisableKeepAlives: !keep}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: patience}
	for range 20 {
		req, err := http.NewRequest(method, "http://"+l.address, nil)
		if method == http.MethodPost {
			req, err = http.NewRequest(method, "http://"+l.address, strings.NewReader(body))
		}
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			err = l.check(method, string(got))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// slow sends a request whose answer takes longer than a handover.
func slow(l *load) error {
	transport := &http.Transport{} // the connection outlives the request, and no handover waits for it
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: patience}
	resp, err := client.Get("http://" + l.address + "/slow")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil && !strings.HasSuffix(string(got), "end") {
		err = fmt.Errorf("cut off after %d bytes", len(got))
	}
	l.slow.Add(1)
	return err
}
