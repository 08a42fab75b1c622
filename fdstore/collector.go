//go:build linux

package fdstore

import (
	"errors"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// collectsInClose reports whether the kernel looks for Unix sockets that nothing but
// each other holds before close(2) of a Unix socket returns, as Linux 5.10 does: it
// then walks the queue of every socket that is in messages only, at each close of
// any Unix socket of the whole machine. The shards of a store are such sockets, and
// their queues have all of its messages; a socket that some process has open is
// none. Newer kernels look in a thread of their own, and walk no queue.
//
// It is tried, not told by a version: a socket that holds itself and the end of a
// pipe is let go of, another one is closed, and the pipe says whether the end is gone
// when that close returns. A close that meets another collection under way returns at once, and a kernel thread
// can be quick, so the majority of some tries decides. Being wrong costs time, or a
// descriptor for 64 messages.
func collectsInClose() bool {
	switch collector.Load() {
	case collectorInClose:
		return true
	case collectorApart:
		return false
	}
	const tries = 5
	gone := 0
	for range tries {
		at, err := collectedAtOnce()
		if err != nil {
			return false // not known, so the next one tries again
		}
		if at {
			gone++
		}
	}
	if gone <= tries/2 {
		collector.Store(collectorApart)
		return false
	}
	collector.Store(collectorInClose)
	return true
}

// collector is what collectsInClose has found; 0 is nothing yet.
var collector atomic.Int32

const (
	collectorApart   = 1
	collectorInClose = 2
)

// collectedAtOnce makes garbage, and reports whether it is gone by the time that
// close returns.
func collectedAtOnce() (bool, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return false, err
	}
	defer unix.Close(pipe[0])
	fd, err := newSocket(1, nil)
	if err == nil {
		err = unix.Sendmsg(fd, make([]byte, wire.PayloadSize), unix.UnixRights(fd, pipe[1]), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
	_ = unix.Close(pipe[1])
	if fd >= 0 {
		_ = unix.Close(fd)
	}
	if err != nil {
		return false, err
	}
	// The kernel does not see the end of a socket that holds itself.
	other, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	_ = unix.Close(other)
	// The end of the pipe's writers is the end of input.
	_, err = unix.Read(pipe[0], make([]byte, 1))
	return !errors.Is(err, unix.EAGAIN), nil
}

// mostHeld is how many full sockets the maker holds open where it pays: half of its
// descriptors at most.
func mostHeld() int {
	soft, err := softFiles()
	if err != nil {
		return 0
	}
	return int(min(soft/2, math.MaxInt32))
}
