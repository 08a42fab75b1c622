package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"regrow/restore"
)

// signals receives what is sent to regrow.
type signals struct {
	c chan os.Signal
}

// ending are the signals that ask regrow to stop.
var ending = []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT}

// catch takes the signals that regrow has rules for, but for those that the
// caller ignores: under nohup, regrow ignores SIGHUP too.
func catch() *signals {
	s := &signals{c: make(chan os.Signal, 64)}
	for _, sig := range []unix.Signal{
		unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCHLD,
	} {
		if sig == unix.SIGCHLD || !signal.Ignored(sig) {
			signal.Notify(s.c, sig)
		}
	}
	return s
}

func (s *signals) stop() { signal.Stop(s.c) }

// untilRelease gives a context that ends when a signal asks regrow to stop. Call
// cancel before anybody else reads signals.
func (s *signals) untilRelease(parent context.Context) (ctx context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(parent)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case sig := <-s.c:
				if s, ok := sig.(unix.Signal); ok && slices.Contains(ending, s) {
					end(fmt.Errorf("got %s", unix.SignalName(s)))
				}
			}
		}
	}()
	return ctx, func() {
		close(quit)
		<-done
		end(nil)
	}
}

// stay passes signals on until the tree has ended, and gives the exit status.
//
//	                 root holds, or is pid 1 without a handler
//	TERM HUP INT QUIT ─────────────────────────────────────────▶ SIGKILL, 128+N
//	   │ otherwise
//	   ├─ TERM HUP: passed; the second one after 1 s or more ──▶ SIGKILL, 128+N
//	   └─ INT QUIT: passed unless the terminal has sent it to the whole group
func (s *signals) stay(tree *restore.Tree) (int, error) {
	type end struct {
		status restore.Status
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		status, err := tree.Wait()
		ended <- end{status, err}
	}()
	killed := 0
	var first time.Time // the first TERM or HUP
	kill := func(sig unix.Signal) {
		if killed == 0 {
			killed = 128 + int(sig)
		}
		tree.Kill()
	}
	for {
		select {
		case e := <-ended:
			if killed != 0 && e.status.Signal == unix.SIGKILL {
				return killed, e.err
			}
			return e.status.ExitStatus(), e.err
		case got := <-s.c:
			sig, ok := got.(unix.Signal)
			if !ok {
				continue
			}
			switch sig { //nolint:exhaustive // the others have one rule
			case unix.SIGCHLD:
				tree.ReapOrphans()
				continue
			case unix.SIGTERM, unix.SIGHUP:
				if !first.IsZero() && time.Since(first) >= time.Second {
					kill(sig)
					continue
				}
				if first.IsZero() {
					first = time.Now()
				}
			case unix.SIGUSR1, unix.SIGUSR2:
				_ = tree.Signal(sig)
				continue
			}
			if sig != unix.SIGWINCH && !tree.RootHandles(sig) {
				kill(sig)
				continue
			}
			if (sig == unix.SIGINT || sig == unix.SIGQUIT || sig == unix.SIGWINCH) && inForeground() {
				continue
			}
			_ = tree.Signal(sig) // the root may have ended meanwhile: Wait tells
		}
	}
}

// inForeground reports whether this process's group is the one that its
// terminal sends keys to.
func inForeground() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
