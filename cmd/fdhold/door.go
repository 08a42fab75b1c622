package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
)

// envDoor names the door's descriptor for put, as fdstore.EnvRoot names the store's.
const envDoor = "FDHOLD_DOOR"

// door receives files from put, because only fdhold run, the writer of the store, can
// add them:
//
//	put ── number, name; reply, file ──▶ door ──▶ fdhold run ──▶ store
//	    ◀───────── "k3" or "eREASON" ─── reply ──┘
//
// It is a pair of SOCK_SEQPACKET sockets. The program and its descendants share one
// end and only send to it. Each request brings one end of another pair for the answer.
type door struct {
	store  *fdstore.Store
	conn   *net.UnixConn // the end from which fdhold run receives
	theirs *os.File      // the program's end
}

// The first byte of an answer.
const (
	answerDone   = 'k' // the ID follows
	answerFailed = 'e' // the reason follows
)

// answerTime is how long put waits for an answer.
const answerTime = 30 * time.Second

const numberSize = 8

func openDoor(s *fdstore.Store) (*door, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	return &door{s, ours, theirs}, nil
}

// pair makes a pair of connected sockets. theirs is for another process.
func pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "fdhold")
	ours := os.NewFile(uintptr(fds[0]), "fdhold")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("a %T is not a Unix socket", conn), conn.Close(), theirs.Close())
	}
	return unixConn, theirs, nil
}

// addToCmd passes the door to a program, after the files that it has already.
func (d *door) addToCmd(cmd *exec.Cmd) {
	const firstExtra = 3
	cmd.Env = append(cmd.Env, doorAt(firstExtra+len(cmd.ExtraFiles), d.store.Number()))
	cmd.ExtraFiles = append(cmd.ExtraFiles, d.theirs)
}

func doorAt(fd int, number uint64) string { return fmt.Sprintf("%s=%d:%016x", envDoor, fd, number) }

func (d *door) close() {
	_ = d.conn.Close()
	_ = d.theirs.Close()
}

// serve receives files until the door is closed.
func (d *door) serve() {
	b := make([]byte, numberSize+fdstore.MaxName+1)
	oob := make([]byte, unix.CmsgSpace(2*4))
	for {
		n, oobn, flags, _, err := d.conn.ReadMsgUnix(b, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // a program has shut the socket down: no program can put any more
			return
		}
		fds := rights(oob[:oobn])
		if len(fds) == 2 && flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) == 0 {
			answer(fds[0], d.take(b[:n], fds[1]))
		}
		for _, fd := range fds {
			go func() { _ = unix.Close(fd) }() // it may block: SO_LINGER, FUSE
		}
	}
}

// rights returns the descriptors of a message.
func rights(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if r, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, r...)
		}
	}
	return fds
}

// take adds a file to the store and returns the answer.
func (d *door) take(request []byte, fd int) string {
	if len(request) < numberSize || binary.NativeEndian.Uint64(request) != d.store.Number() {
		return string(answerFailed) + "this is another store"
	}
	name := string(request[numberSize:])
	id, err := d.store.AddNamed(name, borrowed(fd))
	if err != nil {
		return string(answerFailed) + err.Error()
	}
	return string(answerDone) + strconv.FormatUint(uint64(id), 10)
}

// answer sends the answer without waiting: the socket has room for one message.
func answer(reply int, text string) {
	_ = unix.Sendmsg(reply, []byte(text), nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// findDoor returns the inherited descriptor of the door, and makes it close-on-exec.
func findDoor(number uint64) (int, error) {
	fdText, numberText, ok := strings.Cut(os.Getenv(envDoor), ":")
	fd, err := strconv.Atoi(fdText)
	if !ok || err != nil || fd < 0 || fd > math.MaxInt32 || numberText != fmt.Sprintf("%016x", number) {
		return -1, fmt.Errorf("no process receives files for this store: put works only in programs started by `fdhold run` (%s=%q)", envDoor, os.Getenv(envDoor))
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err == nil && kind != unix.SOCK_SEQPACKET {
		err = unix.EPROTOTYPE
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
	}
	if err != nil {
		return -1, fmt.Errorf("descriptor %d, which %s names, was not passed on: %w", fd, envDoor, err)
	}
	return fd, nil
}

// sendThrough sends a file through the door and returns its ID in the store.
func sendThrough(door int, number uint64, name string, fd int) (id string, err error) {
	ours, theirs, err := pair()
	if err != nil {
		return "", err
	}
	defer func() { _ = ours.Close() }() // only read from
	request := append(binary.NativeEndian.AppendUint64(nil, number), name...)
	err = ignoringEINTR(func() error {
		return unix.Sendmsg(door, request, unix.UnixRights(int(theirs.Fd()), fd), nil, unix.MSG_NOSIGNAL)
	})
	_ = theirs.Close()
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNREFUSED) {
		return "", errHolderGone
	}
	if err != nil {
		return "", os.NewSyscallError("sendmsg", err)
	}
	if err := ours.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return "", err
	}
	b := make([]byte, 4096)
	n, err := ours.Read(b)
	switch {
	case err != nil || n == 0:
		return "", errors.Join(errHolderGone, err)
	case b[0] == answerDone:
		return string(b[1:n]), nil
	}
	return "", errors.New(string(b[1:n]))
}

var errHolderGone = errors.New("fdhold run has ended or does not answer")

// ignoringEINTR repeats a call that a signal interrupted before it has done anything.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
