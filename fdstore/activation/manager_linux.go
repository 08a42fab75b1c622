package activation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore/internal/borrow"
)

// Barrier returns when the manager has processed all messages sent before (BARRIER=1,
// since systemd 246). It sends one end of a pipe, which the manager closes when it
// reaches this message.
//
//	pipe:  r, w ── BARRIER=1, w ──▶ manager      close(w) here
//	       read(r) ◀── end of file ── close(w) in the manager
//
// Errors: as [Manager.Store].
func (m *Manager) Barrier(ctx context.Context) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("activation: barrier: %w", err)
	}
	defer r.Close()
	err = m.send(ctx, "BARRIER=1", []syscall.Conn{w})
	_ = w.Close()
	if err == nil {
		err = awaitEnd(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("activation: barrier: %w", err)
	}
	return nil
}

// awaitEnd waits until the write end of a pipe is closed everywhere.
func awaitEnd(ctx context.Context, r *os.File) error {
	defer expire(ctx, r)()
	_, err := io.Copy(io.Discard, r) // no data is expected
	return blame(ctx, err)
}

// send sends one datagram. If the manager's queue is full, it waits.
func (m *Manager) send(ctx context.Context, state string, files []syscall.Conn) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.address, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // after a successful send the message is in the queue
	defer expire(ctx, conn)()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return borrow.Files(files, func(fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		// Not WriteMsgUnix, which refuses a connected datagram socket. Only a
		// connected socket can be polled while the manager's queue is full.
		var sent error
		err := raw.Write(func(fd uintptr) (done bool) {
			for {
				sent = unix.Sendmsg(int(fd), []byte(state), rights, nil, unix.MSG_NOSIGNAL)
				if !errors.Is(sent, unix.EINTR) {
					return !errors.Is(sent, unix.EAGAIN)
				}
			}
		})
		if err != nil {
			return blame(ctx, err)
		}
		return os.NewSyscallError("sendmsg", sent)
	})
}

// expire makes operations on c fail when ctx ends. The caller calls stop.
func expire(ctx context.Context, c interface{ SetDeadline(time.Time) error }) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

// blame returns ctx's error if err is due to the end of ctx, else err.
func blame(ctx context.Context, err error) error {
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
