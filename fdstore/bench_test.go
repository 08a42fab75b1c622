//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// filled returns a store of n messages, each with the same file.
func filled(b *testing.B, n int, l Layout) *Store {
	b.Helper()
	s := newTestStore(b, Options{Layout: l})
	f := devNull(b)
	for range n {
		if _, err := s.Add(f); errors.Is(err, ErrFull) || errors.Is(err, ErrInFlight) {
			skip(b, fmt.Sprintf("a store of %d messages: %v", n, err))
		} else if err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkGet gets a random file of many, as a descriptor, and closes it.
func BenchmarkGet(b *testing.B) { benchmarkGet(b, Nested) }

// BenchmarkFirst opens a store, looks up a name and gets its file, as a new worker does.
func BenchmarkFirst(b *testing.B) {
	const n = 10
	s := newTestStore(b, Options{})
	for i := range n {
		if _, err := s.AddNamed(strconv.Itoa(i), devNull(b)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		fd, err := unix.FcntlInt(uintptr(s.FD()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		o, err := Open(fd)
		if err != nil {
			b.Fatal(err)
		}
		id, err := o.Lookup("7")
		if err != nil {
			b.Fatal(err)
		}
		var fds [1]int
		if _, err := o.GetFDs(id, fds[:0]); err != nil {
			b.Fatal(err)
		}
		unix.Close(fds[0])
		o.Close()
	}
}

// BenchmarkFlat does the same with one socket and one message for each file, like
// CRIU's store.
func BenchmarkFlat(b *testing.B) { benchmarkGet(b, Flat) }

func benchmarkGet(b *testing.B, l Layout) {
	for _, n := range []int{10, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("files=%d", n), func(b *testing.B) {
			s := filled(b, n, l)
			var fd [1]int
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.GetFDs(ID(rand.N(n)), fd[:0]); err != nil {
					b.Fatal(err)
				}
				unix.Close(fd[0])
			}
		})
	}
}

// BenchmarkGetFile is BenchmarkGet with an os.File made of each descriptor.
func BenchmarkGetFile(b *testing.B) {
	s := filled(b, 10, Nested)
	b.ReportAllocs()
	for b.Loop() {
		f, err := s.Get(ID(rand.N(10)))
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// BenchmarkPull pulls the descriptors of a store's first message, as a forked task does,
// and closes them.
func BenchmarkPull(b *testing.B) {
	for _, n := range []int{1, 10, 100, 253} {
		b.Run(fmt.Sprintf("group=%d", n), func(b *testing.B) {
			s := newTestStore(b, Options{})
			fds := make([]int, n)
			f := devNull(b)
			for i := range fds {
				fds[i] = int(f.Fd())
			}
			id, err := s.AddFDs(fds)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if fds, err = s.GetFDs(id, fds[:0]); err != nil {
					b.Fatal(err)
				}
				for _, fd := range fds {
					unix.Close(fd)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/file")
		})
	}
}

// BenchmarkAdd adds to a store, which is replaced by a new one from time to time.
func BenchmarkAdd(b *testing.B) {
	s := newTestStore(b, Options{})
	f := devNull(b)
	b.ReportAllocs()
	for b.Loop() {
		_, err := s.Add(f)
		if err != nil || s.Len() == 1000 {
			b.StopTimer()
			if err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, ErrInFlight) {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			s = newTestStore(b, Options{})
			b.StartTimer()
		}
	}
}

// BenchmarkDup is the reference for the other benchmarks.
func BenchmarkDup(b *testing.B) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	from := f.Fd()
	for b.Loop() {
		fd, err := unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(fd)
	}
}

// BenchmarkPidfdGetfd copies a file of another process instead: one call, but that
// process must be running, and the caller must be allowed to trace it.
func BenchmarkPidfdGetfd(b *testing.B) {
	f := devNull(b)
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(pidfd)
	for b.Loop() {
		fd, err := unix.PidfdGetfd(pidfd, int(f.Fd()), 0)
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(fd)
	}
}
