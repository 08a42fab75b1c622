package service

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/test/interrupt"
)

// patience is how long a test waits for what must come. It is only there to end a
// test that hangs: no verdict depends on how long something takes.
const patience = 3 * time.Minute

const ownerEnv = "SERVICE_TEST_OWNER"

func TestMain(m *testing.M) {
	interrupt.Init()
	Init()
	if dir := os.Getenv(interruptedEnv); dir != "" {
		if err := beInterrupted(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(ownerEnv) != "" {
		ownerThatDies()
	}
	before := openDescriptors()
	status := m.Run()
	if after := openDescriptors(); after != before {
		fmt.Fprintf(os.Stderr, "service: the tests leaked descriptors: %s, before %s\n", after, before)
		status = max(status, 1)
	}
	os.Exit(status)
}

func openDescriptors() string {
	var b strings.Builder
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(link, "anon_inode:") {
			fmt.Fprintf(&b, "%s=%s ", e.Name(), link)
		}
	}
	return b.String()
}

func started(t *testing.T) *Service {
	t.Helper()
	s, err := Start(Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pid := s.PID()
		if err := s.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("the process is still there: %v", err)
		}
	})
	return s
}

// numbered makes a file that holds its number.
func numbered(t *testing.T, n int) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), strconv.Itoa(n)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteAt([]byte(strconv.Itoa(n)), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

// holds reads a file's number without moving its offset.
func holds(t *testing.T, f *os.File) string {
	t.Helper()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPushPop(t *testing.T) {
	s := started(t)
	f := numbered(t, 7)
	if err := s.Push(7, int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(3, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it stays there
		got, err := s.Pop(7)
		if err != nil {
			t.Fatal(err)
		}
		at, err := got.Seek(0, io.SeekCurrent)
		if err != nil || at != 3 {
			t.Errorf("the offset is %d (%v), want the pushed file's, 3", at, err)
		}
		if flags, err := unix.FcntlInt(got.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("not close-on-exec: %#x, %v", flags, err)
		}
		got.Close()
	}
}

func TestErrors(t *testing.T) {
	s := started(t)
	fd := int(numbered(t, 1).Fd())
	if err := s.Push(1, fd); err != nil {
		t.Fatal(err)
	}
	_, notThere := s.Pop(2)
	taken := s.Push(1, fd)
	bad := s.Push(3, -1)
	closed := s.Push(3, 12345)
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want error
		errno     unix.Errno
	}{
		{"not there", notThere, ErrNotFound, unix.ENOENT},
		{"taken", taken, ErrTaken, unix.EEXIST},
		{"negative", bad, unix.EBADF, unix.EBADF},
		{"not open", closed, unix.EBADF, unix.EBADF},
		{"sealed", s.Push(4, fd), ErrSealed, unix.EROFS},
	} {
		if !errors.Is(c.got, c.want) || !errors.Is(c.got, c.errno) {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Push(5, fd); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// TestChannels lets many clients ask at once, each through a channel of its own:
// everybody gets the answers to his own requests.
func TestChannels(t *testing.T) {
	const clients, files, rounds = 32, 20, 50
	s := started(t)
	for i := range files {
		if err := s.Push(ID(i), int(numbered(t, i).Fd())); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			channel, err := Open(s.Door(), s.Number(), 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer channel.Close()
			for r := range rounds {
				id := (c*7 + r*3) % files
				f, err := channel.Pop(ID(id))
				if err != nil {
					t.Error(err)
					return
				}
				if got := holds(t, f); got != strconv.Itoa(id) {
					t.Errorf("popped %d, got %s", id, got)
				}
				f.Close()
			}
		})
	}
	wg.Wait()
}

// TestStrangeMessages sends what no client sends: the service goes on for others.
func TestStrangeMessages(t *testing.T) {
	s := started(t)
	fd := int(numbered(t, 1).Fd())
	for name, say := range map[string]func() error{
		"no file through the door":    func() error { return send(s.Door(), s.Number(), OpenWord, -1, 0) },
		"another number":              func() error { return send(s.Door(), s.Number()+1, OpenWord, fd, 0) },
		"another word":                func() error { return send(s.Door(), s.Number(), 0, fd, 0) },
		"a regular file as a channel": func() error { return send(s.Door(), s.Number(), OpenWord, fd, 0) },
		"short":                       func() error { return unix.Sendmsg(s.Door(), []byte{1}, nil, nil, 0) },
		"two files": func() error {
			return unix.Sendmsg(s.Door(), encode(s.Number(), OpenWord), unix.UnixRights(fd, fd), nil, 0)
		},
		"many files": func() error {
			return unix.Sendmsg(s.Door(), encode(s.Number(), OpenWord), unix.UnixRights(fd, fd, fd, fd, fd), nil, 0)
		},
	} {
		if err := say(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	channel, err := Open(s.Door(), s.Number(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer channel.Close()
	if _, err := channel.ask(99<<kindShift, -1); !errors.Is(err, unix.EINVAL) {
		t.Errorf("an unknown request: %v", err)
	}
	wrong, err := Open(s.Door(), s.Number(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	wrong.number++
	if _, err := wrong.Pop(1); !errors.Is(err, ErrClosed) {
		t.Errorf("with another number: %v", err)
	}
	if err := s.Push(1, fd); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// ownerThatDies starts a service, tells its pid, and dies without closing it.
func ownerThatDies() {
	s, err := Start(Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.PID())
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
}

// TestOwnerDies kills the owner of a service: the service ends, too.
func TestOwnerDies(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), ownerEnv+"=1")
	out, _ := cmd.Output() // it was killed
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		if got == pid || errors.Is(err, unix.ECHILD) && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return
		}
		if time.Now().After(deadline) {
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("the service %d outlives its owner", pid)
		}
	}
}

// TestStartErrors holds that a program which does not become a service is told
// from one, and left behind by nobody.
func TestStartErrors(t *testing.T) {
	initialized.Store(false)
	_, err := Start(Options{})
	initialized.Store(true)
	if !errors.Is(err, ErrNoInit) {
		t.Errorf("without Init: %v", err)
	}
	if _, err := Start(Options{Command: []string{"/nonexistent"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: %v", err)
	}
	if _, err := Start(Options{Command: []string{"true"}}); !errors.Is(err, ErrClosed) {
		t.Errorf("a program that ends: %v", err)
	}
	start := time.Now()
	if _, err := Start(Options{Command: []string{"sleep", "1000"}, Timeout: 50 * time.Millisecond}); !errors.Is(err, ErrTimeout) {
		t.Errorf("a program that does something else: %v", err)
	}
	if took := time.Since(start); took > patience {
		t.Errorf("took %v", took)
	}
}

// TestNoDescriptors pops where the table is full.
func TestNoDescriptors(t *testing.T) {
	s := started(t)
	if err := s.Push(1, int(numbered(t, 1).Fd())); err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	var fillers []int
	low := unix.Rlimit{Cur: 64, Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	for {
		fd, err := unix.Dup(0)
		if err != nil {
			break
		}
		fillers = append(fillers, fd)
	}
	_, err := s.Pop(1)
	for _, fd := range fillers {
		_ = unix.Close(fd)
	}
	if resetErr := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); resetErr != nil {
		t.Fatal(resetErr)
	}
	if !errors.Is(err, ErrNoDescriptors) {
		t.Errorf("got %v", err)
	}
	if f, err := s.Pop(1); err != nil {
		t.Errorf("with room again: %v", err)
	} else {
		f.Close()
	}
}

// BenchmarkPop asks for one file again and again.
func BenchmarkPop(b *testing.B) {
	s, err := Start(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.Push(1, 0); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		f, err := s.Pop(1)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
