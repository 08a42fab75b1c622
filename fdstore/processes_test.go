//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// numbered returns a store of n messages as helpPull expects them.
func numbered(t *testing.T, n int) *Store {
	t.Helper()
	s, _ := numberedFiles(t, n)
	return s
}

// numberedFiles also returns the descriptors of all files.
func numberedFiles(t *testing.T, n int) (s *Store, fds []string) {
	t.Helper()
	s = newTestStore(t, Options{})
	for i := range n {
		group := make([]File, groupSize(i))
		for j := range group {
			f := memfd(t, fmt.Sprintf("%d.%d", i, j))
			group[j] = f
			fds = append(fds, strconv.Itoa(int(f.Fd())))
		}
		name := ""
		if i == 0 {
			name = "first"
		}
		if id, err := s.addGroup(name, group); err != nil || id != ID(i) {
			t.Fatalf("message %d is %d, %v", i, id, err)
		}
	}
	return s, fds
}

// TestContention has 64 processes get random messages, and kills every fourth of them in
// the middle. The others must get the right open files, checked by kcmp, and must all
// finish.
func TestContention(t *testing.T) {
	const messages, gets, processes = 200, 300, 64
	s, fds := numberedFiles(t, messages)
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	var cmds []*exec.Cmd
	var outs []*strings.Builder
	for i := range processes {
		n := gets
		if i%4 == 3 {
			n = 1 << 30
		}
		cmd := newHelper(t, s, "open", strconv.Itoa(n), strconv.Itoa(os.Getpid()), strings.Join(fds, ","))
		out := &strings.Builder{}
		if i%4 != 3 {
			cmd.Stdout = out
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds, outs = append(cmds, cmd), append(outs, out)
	}
	for i := 3; i < processes; i += 4 {
		time.Sleep(time.Millisecond)
		if err := cmds[i].Process.Kill(); err != nil {
			t.Error(err)
		}
	}
	var took []int
	for i, cmd := range cmds {
		if i%4 == 3 {
			_ = cmd.Wait() // killed
			continue
		}
		waitHelper(t, cmd)
		for field := range strings.FieldsSeq(outs[i].String()) {
			ns, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, ns)
		}
	}
	slices.Sort(took)
	if len(took) != processes/4*3*gets {
		t.Errorf("%d gets, want %d", len(took), processes/4*3*gets)
	}
	at := func(q float64) time.Duration { return time.Duration(took[int(q*float64(len(took)-1))]) }
	t.Logf("%d processes on %d CPUs: p50 %v, p99 %v, max %v", processes, runtime.NumCPU(), at(.5), at(.99), at(1))
}

// TestProcesses pulls from several processes and several goroutines of this process at
// the same time: every file must be the right one.
func TestProcesses(t *testing.T) {
	const messages, gets, processes, goroutines = 64, 2000, 6, 4
	s := numbered(t, messages)
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	var cmds []*exec.Cmd
	for range processes {
		cmds = append(cmds, startHelper(t, s, "pull", strconv.FormatUint(s.Number(), 10), strconv.Itoa(messages), strconv.Itoa(gets)))
	}
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range gets / 4 {
				if err := getAndCheck(s, rand.N(messages)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, cmd := range cmds {
		waitHelper(t, cmd)
	}
}

func getAndCheck(s *Store, i int) error {
	files, err := s.GetGroup(ID(i))
	if err != nil {
		return err
	}
	return check(files, i)
}

// check checks that these are the files of message i of numbered, and closes them.
func check(files []*os.File, i int) error {
	for j, f := range files {
		defer f.Close()
		if got, err := content(f); err != nil || got != fmt.Sprintf("%d.%d", i, j) {
			return fmt.Errorf("file %d.%d contains %q: %w", i, j, got, err)
		}
	}
	return nil
}

// TestGoroutinesAddAndGet adds and gets in several goroutines at the same time.
func TestGoroutinesAddAndGet(t *testing.T) {
	s := newTestStore(t, Options{})
	var wg sync.WaitGroup
	for g := range 4 {
		f := memfd(t, strconv.Itoa(g))
		wg.Go(func() {
			for range 50 {
				id, err := s.Add(f)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := s.Get(id)
				if err != nil {
					t.Error(err)
					return
				}
				if text, err := content(got); text != strconv.Itoa(g) {
					t.Errorf("message %d: %q, %v", id, text, err)
				}
				got.Close()
			}
		})
	}
	wg.Wait()
	if s.Len() != 200 {
		t.Errorf("%d messages", s.Len())
	}
}

// TestMovedOffset gets while another process moves the offset all the time.
func TestMovedOffset(t *testing.T) {
	s := numbered(t, 10)
	mover := startHelper(t, s, "move", "100000")
	for range 2000 {
		if err := getAndCheck(s, rand.N(10)); err != nil {
			t.Fatal(err)
		}
	}
	waitHelper(t, mover)
}

// TestSameOpenFile asks the kernel whether what another process pulls is the
// open file of this one.
func TestSameOpenFile(t *testing.T) {
	s := newTestStore(t, Options{})
	f := memfd(t, "file")
	if _, err := s.Add(f); err != nil {
		t.Fatal(err)
	}
	waitHelper(t, startHelper(t, s, "same", strconv.FormatUint(s.Number(), 10), strconv.Itoa(os.Getpid()), strconv.Itoa(int(f.Fd()))))
}

// TestLimits runs the helpers that change limits or credentials.
func TestLimits(t *testing.T) {
	for _, name := range []string{"emfile", "kept", "inflight", "allowance", "unpriv"} {
		t.Run(name, func(t *testing.T) { waitHelper(t, startHelper(t, nil, name)) })
	}
}

// TestOffsetOfAnother changes the offset between setsockopt and recvmsg, as another
// process could.
func TestOffsetOfAnother(t *testing.T) {
	s := numbered(t, 3)
	first := Nested.Place(0, groupSize(0)).Word
	tests := []struct {
		name   string
		offset int
		want   error
	}{
		{"its own", wire.PayloadSize, nil},
		{"another message", 3 * wire.PayloadSize, errOtherMessage},
		{"the middle of a message", wire.PayloadSize / 2, ErrForeign},
		{"beyond the queue", 4 * wire.PayloadSize, errBeyond},
		{"the header", 0, errOtherMessage},
		{"switched off", -1, errOtherMessage}, // the head of the queue
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(descriptors())
			if err := setOffset(s.fd, first); err != nil {
				t.Fatal(err)
			}
			if err := unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_PEEK_OFF, tt.offset); err != nil {
				t.Fatal(err)
			}
			n, flags, err := s.peek(s.fd)
			if err == nil {
				err = s.check(first, n, flags)
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			s.received.close()
			if after := len(descriptors()); after != before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
		})
	}
}
