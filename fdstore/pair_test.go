//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// pairQueue is the queue of a store made of a pair of sockets, the variant of decision
// 20: one end adds, the other end is passed to processes.
func pairQueue(t testing.TB, n int) (add, get int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	if err := setSendBuffer(pair[0], 0); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		addToQueue(t, pair[0], i)
	}
	return pair[0], pair[1]
}

func addToQueue(t testing.TB, fd, i int) {
	t.Helper()
	data := wire.Payload{Number: 7, Word: Flat.Place(ID(i-1), 1).Word}.Append(nil)
	if err := unix.Sendmsg(fd, data, unix.UnixRights(0), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != nil {
		t.Fatal(err)
	}
}

// selfQueue is the same with a socket connected to itself, as this package uses it.
func selfQueue(t testing.TB, n int) int {
	t.Helper()
	fd, err := newSocket(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	for i := range n {
		addToQueue(t, fd, i)
	}
	return fd
}

// TestPairVariant checks what decision 20 says about a store made of a pair of sockets.
func TestPairVariant(t *testing.T) {
	add, get := pairQueue(t, 3)
	if err := unix.Close(add); err != nil { // as when the maker is killed
		t.Fatal(err)
	}
	for i := range 3 {
		fds, _, ok, err := rawPull(get, 7, Flat.Place(ID(i-1), 1).Word)
		if err != nil || !ok {
			t.Fatalf("message %d after the maker's end: %v, %v", i, ok, err)
		}
		closeAll(fds)
	}
	if _, _, err := unix.Recvfrom(get, make([]byte, wire.PayloadSize), unix.MSG_DONTWAIT); err != nil {
		t.Errorf("receive a message: %v", err)
	}
	// The kernel notices that the other end is gone, and discards what it has sent.
	if err := unix.Sendto(get, []byte("x"), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil); !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a taker's add: %v, want ECONNREFUSED", err)
	}
	if _, _, err := unix.Recvfrom(get, make([]byte, wire.PayloadSize), unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("after a taker's add the queue is not empty: %v", err)
	}
}

// BenchmarkVariants compares the socket that is connected to itself with a pair.
func BenchmarkVariants(b *testing.B) {
	for _, n := range []int{10, 64, 1000} {
		writer, pair := pairQueue(b, n)
		b.Cleanup(func() { unix.Close(writer) })
		for name, fd := range map[string]int{"self": selfQueue(b, n), "pair": pair} {
			b.Run(fmt.Sprintf("get/%s/files=%d", name, n), func(b *testing.B) {
				for b.Loop() {
					fds, _, ok, err := rawPull(fd, 7, Flat.Place(ID(rand.N(n)-1), 1).Word)
					if err != nil || !ok {
						b.Fatal(ok, err)
					}
					unix.Close(fds[0])
				}
			})
		}
	}
	b.Run("make/self", func(b *testing.B) {
		for b.Loop() {
			fd, err := newSocket(0, nil)
			if err != nil {
				b.Fatal(err)
			}
			unix.Close(fd)
		}
	})
	b.Run("make/pair", func(b *testing.B) {
		for b.Loop() {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil || setSendBuffer(pair[0], 0) != nil {
				b.Fatal(err)
			}
			closeAll(pair[:])
		}
	})
}
