//go:build linux

package fdstore

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/test/inflight"
	"regrow/test/interrupt"
)

// helperEnv is the variable that makes the test binary run one of the helpers.
const helperEnv = "FDSTORE_TEST_HELPER"

// patience is how long a test waits. It only ends a test that hangs: no result depends on
// how long something takes.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	interrupt.Init()
	if name := os.Getenv(helperEnv); name != "" {
		runHelper(name)
	}
	os.Exit(inflight.Run(inflight.Many, func() int { return run(m) }))
}

// run fails if the tests leave a descriptor behind, and lists what was skipped.
func run(m *testing.M) int {
	// Make the runtime open its own descriptors (epoll, eventfd) before they are listed.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	before := descriptors()
	status := m.Run()
	for fd, target := range descriptors() {
		if before[fd] != target {
			fmt.Fprintf(os.Stderr, "fdstore: the tests leaked descriptor %d: %s\n", fd, target)
			status = max(status, 1)
		}
	}
	if n := len(skips.why); n > 0 {
		sort.Strings(skips.why)
		fmt.Printf("fdstore: %d skipped:\n", n)
		for _, why := range skips.why {
			fmt.Println("\t" + why)
		}
	}
	return status
}

// descriptors returns the target of each open descriptor of this process.
func descriptors() map[int]string {
	fds := map[int]string{}
	// os.ReadDir also lists its own descriptor, which is closed again.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			fds[fd] = target
		}
	}
	return fds
}

var skips struct {
	sync.Mutex
	why []string
}

// skip skips a test because the kernel or the privileges lack something. All skips are
// listed at the end.
func skip(t testing.TB, why string) {
	t.Helper()
	skips.Lock()
	skips.why = append(skips.why, t.Name()+": "+why)
	skips.Unlock()
	t.Skip(why)
}

func needDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		t.Fatal(err)
	}
	if r.Cur < n {
		skip(t, fmt.Sprintf("needs %d descriptors, RLIMIT_NOFILE is %d", n, r.Cur))
	}
}

func newTestStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t interface{ Error(...any) }, s *Store) {
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func devNull(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// memfd returns a new file that contains its name, which helpers check.
func memfd(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := newMemfd(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func newMemfd(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteString(name); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func content(f *os.File) (string, error) {
	b := make([]byte, 100)
	n, err := unix.Pread(int(f.Fd()), b, 0)
	return string(b[:max(n, 0)]), err
}
