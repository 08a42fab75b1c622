//go:build linux

package fdstore

import (
	"errors"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// collectsInClose reports whether the kernel searches for unreachable Unix sockets
// before close(2) of a Unix socket returns, as Linux 5.10 does. At each close of any Unix
// socket of the whole machine such a kernel walks the queue of every socket that only
// messages refer to. The shards of a store are such sockets, and their queues contain
// all of its messages. A socket that some process has open is not walked. Newer kernels
// collect in a thread of their own, and walk no queue.
//
// The version does not tell, so collectsInClose tests it. It closes a socket whose queue
// contains the socket itself and one end of a pipe, and then closes another socket. If
// the end of the pipe is closed when that call returns, close has collected. A close
// returns at once if a collection is running already, and a kernel thread can be quick,
// so the majority of several tries decides. A wrong result costs time, or a descriptor
// for 64 messages.
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
			return false // unknown; the next call tries again
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

// collector is the result of collectsInClose; 0: not known yet.
var collector atomic.Int32

const (
	collectorApart   = 1
	collectorInClose = 2
)

// collectedAtOnce makes an unreachable socket, and reports whether it is collected when
// the next close returns.
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
	// The socket is unreachable now: only its own queue refers to it. The next close of a
	// Unix socket may collect it.
	other, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	_ = unix.Close(other)
	// End of file if the write end is closed, else EAGAIN.
	_, err = unix.Read(pipe[0], make([]byte, 1))
	return !errors.Is(err, unix.EAGAIN), nil
}

// mostHeld is the largest number of full sockets that the writer holds open: half of its
// soft RLIMIT_NOFILE.
func mostHeld() int {
	soft, err := softFiles()
	if err != nil {
		return 0
	}
	return int(min(soft/2, math.MaxInt32))
}
