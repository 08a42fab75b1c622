//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAddAndGetErrors(t *testing.T) {
	null := devNull(t)
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	sealed, full, shut := newTestStore(t, Options{}), newTestStore(t, Options{BufferSize: 1}), newTestStore(t, Options{})
	s := newTestStore(t, Options{})
	if _, err := s.AddGroup(null, null); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sealed.Seal(), shut.Close()); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = full.Add(null)
	}
	add := func(s *Store, f ...File) func() error {
		return func() error { _, err := s.AddGroup(f...); return err }
	}
	addFDs := func(fds ...int) func() error { return func() error { _, err := s.AddFDs(fds); return err } }
	get := func(s *Store, id ID) func() error { return func() error { _, err := s.Get(id); return err } }
	tests := []struct {
		name string
		call func() error
		want []error
		text string
	}{
		{"no file", add(s), []error{ErrTooMany}, "fdstore: add: a message carries 1 to 253 files, not 0"},
		{"too many files", add(s, make([]File, MaxGroup+1)...), []error{ErrTooMany}, "fdstore: add: a message carries 1 to 253 files, not 254"},
		{"too many fds", addFDs(make([]int, MaxGroup+1)...), []error{ErrTooMany}, ""},
		{"closed file", add(s, null, closed), []error{os.ErrClosed}, "fdstore: add: file 2 of 2: file already closed"},
		{"nil file", add(s, (*os.File)(nil)), []error{os.ErrInvalid}, "fdstore: add: file 1 of 1: invalid argument"},
		{"nil File", add(s, nil), []error{os.ErrInvalid}, "fdstore: add: file 1 of 1: invalid argument"},
		{"fd not open", addFDs(0, 1<<20), []error{unix.EBADF}, "fdstore: add message 1: file 2 of 2, descriptor 1048576: sendmsg: bad file descriptor"},
		{"fd beyond a C int", addFDs(math.MaxInt), []error{unix.EBADF}, ""},
		{"full", add(full, null), []error{ErrFull, unix.EAGAIN}, ""},
		{"add to sealed", add(sealed, null), []error{ErrSealed}, "fdstore: add message 0: store is sealed"},
		{"add to closed", add(shut, null), []error{ErrClosed}, "fdstore: add message 0: store is closed"},
		{"seal closed", shut.Seal, []error{ErrClosed}, "fdstore: seal: store is closed"},
		{"get from closed", get(shut, 0), []error{ErrClosed}, "fdstore: get message 0: store is closed"},
		{"get beyond", get(s, 1), []error{ErrNotFound}, "fdstore: get message 1: no such message: the store has 1"},
		{"get far beyond", get(s, 1<<32-1), []error{ErrNotFound}, ""},
		{"get one of a group", get(s, 0), []error{ErrGroup}, "fdstore: get message 0: message has several files: 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			err := tt.call()
			for _, want := range tt.want {
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
			if tt.text != "" && err != nil && err.Error() != tt.text {
				t.Errorf("got  %s\nwant %s", err, tt.text)
			}
			if d := time.Since(start); d > patience {
				t.Errorf("took %v", d)
			}
		})
	}
	if s.Len() != 1 {
		t.Errorf("failed adds count: %d messages", s.Len())
	}
	if f, err := full.Get(ID(full.Len() - 1)); err != nil {
		t.Errorf("the last message of a full store: %v", err)
	} else {
		f.Close()
	}
}

// TestFullNamesTheLimit fills stores: Add must not wait, the error must name the limit,
// and the added messages can be got.
func TestFullNamesTheLimit(t *testing.T) {
	for _, c := range []struct {
		layout Layout
		buffer int
		lo, hi int // messages
		where  string
	}{
		{Flat, 212992, 200, 600, ""}, // twice net.core.wmem_default before Linux 6.18
		{Nested, 50 * 768, 1000, 2000, "another socket for the store"},
	} {
		s := newTestStore(t, Options{BufferSize: c.buffer, Layout: c.layout})
		f := devNull(t)
		var err error
		for err == nil {
			_, err = s.Add(f)
		}
		if errors.Is(err, ErrInFlight) {
			skip(t, err.Error())
		}
		limit := fmt.Sprintf("messages fill the send buffer of %d bytes (net.core.wmem_max is %s; CAP_NET_ADMIN lifts it): sendmsg: resource temporarily unavailable",
			c.buffer, sysctl("net/core/wmem_max"))
		if text := err.Error(); !errors.Is(err, ErrFull) || !strings.Contains(text, limit) || !strings.Contains(text, c.where) {
			t.Errorf("layout %d: got  %v\nwant ... %s", c.layout, err, limit)
		}
		t.Logf("layout %d: %d messages", c.layout, s.Len())
		if s.Len() < c.lo || s.Len() > c.hi {
			t.Errorf("layout %d: the store has %d messages, want %d to %d", c.layout, s.Len(), c.lo, c.hi)
		}
		for range 3 {
			_, again := s.Add(f)
			if !errors.Is(again, ErrFull) {
				t.Errorf("layout %d: another add: %v", c.layout, again)
			}
		}
		for id := range s.Len() {
			got, err := s.Get(ID(id))
			if err != nil {
				t.Fatalf("layout %d: message %d of a full store: %v", c.layout, id, err)
			}
			got.Close()
		}
	}
}

// TestPastOneBuffer adds more messages than fit into one socket of an ordinary user.
func TestPastOneBuffer(t *testing.T) {
	const usual, n = 212992, 10_000
	s := newTestStore(t, Options{BufferSize: usual})
	files := []*os.File{memfd(t, "even"), memfd(t, "odd")}
	for i := range n {
		if _, err := s.Add(files[i%2]); errors.Is(err, ErrInFlight) {
			skip(t, err.Error())
		} else if err != nil {
			t.Fatal(err)
		}
	}
	before := len(descriptors())
	s.SetKept(3)
	for _, id := range []ID{0, 31, 32, 95, 96, 2079, 2080, 2081, 2143, 2144, 6175, 6176, n - 1, 33, 5000, 5001} {
		f, err := s.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if !same(t, f, files[id%2]) {
			t.Errorf("message %d is another file", id)
		}
		f.Close()
	}
	if more := len(descriptors()) - before; more != 3 {
		t.Errorf("gets keep %d descriptors, want 3", more)
	}
	if s.SetKept(1); len(descriptors()) != before {
		t.Errorf("%d descriptors are leaked", len(descriptors())-before)
	}
}

func TestGroupKeepsOrderAndIdentity(t *testing.T) {
	a := memfd(t, "a")
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", a.Fd()), os.O_RDWR, 0) // same inode, another open file
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	s := newTestStore(t, Options{})
	id, err := s.AddGroup(a, again, a, devNull(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.GetGroup(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range got {
		defer f.Close()
	}
	if len(got) != 4 {
		t.Fatalf("%d files", len(got))
	}
	for i, tt := range []struct{ a, again bool }{{true, false}, {false, true}, {true, false}, {false, false}} {
		if same(t, got[i], a) != tt.a || same(t, got[i], again) != tt.again {
			t.Errorf("file %d is another one than was added", i)
		}
	}
	// The offset is that of the open file.
	if _, err := got[0].Seek(7, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	for f, want := range map[*os.File]int64{a: 7, again: 0} {
		if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != want {
			t.Errorf("offset %d, %v; want %d", at, err, want)
		}
	}
}

func TestLargestGroup(t *testing.T) {
	needDescriptors(t, 2*MaxGroup+50)
	s := newTestStore(t, Options{})
	files := make([]*os.File, MaxGroup)
	group := make([]File, MaxGroup)
	for i := range group {
		files[i] = devNull(t)
		group[i] = files[i]
	}
	id, err := s.AddGroup(group...)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // a message can be got several times
		got, err := s.GetGroup(id)
		if err != nil || len(got) != MaxGroup {
			t.Fatalf("%d files, %v", len(got), err)
		}
		for i, f := range got {
			if !same(t, f, files[i]) {
				t.Errorf("file %d is another one", i)
			}
			f.Close()
		}
	}
}

func TestDescriptorsAreCloseOnExec(t *testing.T) {
	s := newTestStore(t, Options{})
	id, err := s.Add(devNull(t))
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for what, fd := range map[string]int{"socket": s.FD(), "file": int(f.Fd())} {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: descriptor flags %#x, %v", what, flags, err)
		}
	}
}

// TestFlagsUntouched checks that a pipe of Go stays non-blocking, which (*os.File).Fd
// would change for all processes.
func TestFlagsUntouched(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	s := newTestStore(t, Options{})
	id, err := s.Add(r)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("status flags %#o, %v: O_NONBLOCK is gone", flags, err)
	}
}

func TestCloseReleasesFiles(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := newTestStore(t, Options{})
	if _, err := s.Add(w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := r.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the store does not have the write end open: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if s.FD() != -1 {
		t.Errorf("closed store lends %d", s.FD())
	}
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after close: %v", err)
	}
}

func TestSealHoldsForAllHolders(t *testing.T) {
	s := newTestStore(t, Options{})
	id, err := s.Add(devNull(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Seal(), s.Seal()); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendto(s.FD(), []byte("x"), unix.MSG_NOSIGNAL, nil); !errors.Is(err, unix.EPIPE) {
		t.Errorf("another holder's send: %v, want EPIPE", err)
	}
	for range 2 {
		f, err := s.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	// Sealed by another holder: only the kernel knows.
	s2 := newTestStore(t, Options{})
	if err := unix.Shutdown(s2.FD(), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if _, err := s2.Add(devNull(t)); !errors.Is(err, ErrSealed) || !errors.Is(err, unix.EPIPE) {
		t.Errorf("got %v, want ErrSealed and EPIPE", err)
	}
}

func TestIOUringIsRefused(t *testing.T) {
	ring := ioUring(t)
	s := newTestStore(t, Options{})
	_, err := s.AddGroup(devNull(t), ring)
	if err == nil {
		skip(t, "this kernel sends io_uring instances (before 6.7)")
	}
	want := fmt.Sprintf("file 2 of 2, descriptor %d: file cannot be stored: sendmsg: invalid argument", ring.Fd())
	if !errors.Is(err, ErrCannotSend) || !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestNumbersDiffer(t *testing.T) {
	seen := map[uint64]bool{0: true}
	for range 10 {
		s := newTestStore(t, Options{})
		if seen[s.Number()] {
			t.Errorf("number %#x again", s.Number())
		}
		seen[s.Number()] = true
	}
}
