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
	c     chan os.Signal
	child chan os.Signal // SIGCHLD, apart: thousands of them must not crowd out the others
	pipe  chan os.Signal
}

// ending are the signals that ask regrow to stop.
var ending = []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT}

// catch takes the signals that regrow has rules for, but for those that the
// caller ignores: under nohup, regrow ignores SIGHUP too. SIGPIPE is taken so
// that a reader who has gone away is an error of the write, and not regrow's
// death in the middle of a restore.
func catch() *signals {
	s := &signals{c: make(chan os.Signal, 64), child: make(chan os.Signal, 1), pipe: make(chan os.Signal, 1)}
	for _, sig := range []unix.Signal{
		unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH,
	} {
		if !signal.Ignored(sig) {
			signal.Notify(s.c, sig)
		}
	}
	signal.Notify(s.child, unix.SIGCHLD)
	signal.Notify(s.pipe, unix.SIGPIPE)
	return s
}

func (s *signals) stop() {
	signal.Stop(s.c)
	signal.Stop(s.child)
	signal.Stop(s.pipe)
}

// untilRelease gives a context that ends when a signal asks regrow to stop. done
// gives all that came meanwhile, in order: a signal that came too late to stop
// the restore is one for the tree. Call it before anybody else reads signals.
func (s *signals) untilRelease(parent context.Context) (ctx context.Context, done func() []unix.Signal) {
	ctx, end := context.WithCancelCause(parent)
	quit, came := make(chan struct{}), make(chan []unix.Signal)
	go func() {
		var all []unix.Signal
		for {
			select {
			case <-quit:
				came <- all
				return
			case got := <-s.c:
				sig, ok := got.(unix.Signal)
				if !ok {
					continue
				}
				all = append(all, sig)
				if slices.Contains(ending, sig) {
					end(&signalError{sig})
				}
			}
		}
	}()
	return ctx, func() []unix.Signal {
		close(quit)
		all := <-came
		end(nil)
		return all
	}
}

// signalError says that a signal asked regrow to stop.
type signalError struct{ sig unix.Signal }

func (e *signalError) Error() string { return "got " + unix.SignalName(e.sig) }

// untilAnnounced waits for the end of an announcement, or for a signal that asks
// regrow to stop waiting.
func (s *signals) untilAnnounced(announced <-chan error) error {
	for {
		select {
		case err := <-announced:
			return err
		case got := <-s.c:
			if sig, ok := got.(unix.Signal); ok && slices.Contains(ending, sig) {
				return fmt.Errorf("got %s while the report or the pid file was written", unix.SignalName(sig))
			}
		}
	}
}

// stay passes signals on until the tree has ended, and gives the exit status.
// came has the signals that are to be passed first. An error of the announcement
// ends the tree.
//
//	                 root holds, or is pid 1 without a handler
//	TERM HUP INT QUIT ─────────────────────────────────────────▶ SIGKILL, 128+N
//	   │ otherwise
//	   ├─ TERM HUP: passed; the second one after 1 s or more ──▶ SIGKILL, 128+N
//	   └─ INT QUIT: passed unless the terminal has sent it to the whole group
func (s *signals) stay(tree *restore.Tree, came []unix.Signal, announced <-chan error) (int, error) {
	type end struct {
		status restore.Status
		err    error
	}
	ended, gone := make(chan end, 1), make(chan struct{})
	go func() {
		status, err := tree.Wait()
		close(gone)
		ended <- end{status, err}
	}()
	go s.reapUntil(gone, tree)
	p := &passer{tree: tree}
	for _, sig := range came {
		p.pass(sig)
	}
	var failed error
	for {
		select {
		case e := <-ended:
			if failed != nil {
				return 0, failed
			}
			// The root may have been quicker than the announcement, which
			// then still has to come; a signal ends the waiting.
			if announced != nil {
				failed = s.untilAnnounced(announced)
			}
			if p.killed != 0 && e.status.Signal == unix.SIGKILL {
				return p.killed, failed
			}
			return e.status.ExitStatus(), failed
		case err := <-announced:
			announced = nil
			if err != nil {
				failed = err
				tree.Kill()
			}
		case got := <-s.c:
			if sig, ok := got.(unix.Signal); ok {
				p.pass(sig)
			}
		}
	}
}

// reapUntil takes the status of each orphan of the tree that ends, until the tree has
// ended. It may take long where there are thousands, so it is nobody else's work.
func (s *signals) reapUntil(gone <-chan struct{}, tree *restore.Tree) {
	for {
		tree.ReapOrphans() // a SIGCHLD that came before release was for the restore
		select {
		case <-gone:
			return
		case <-s.child:
		}
	}
}

// passer passes signals to a tree.
type passer struct {
	tree   *restore.Tree
	first  time.Time // when the first TERM or HUP came
	killed int       // the status of a tree that a signal has ended
}

func (p *passer) pass(sig unix.Signal) {
	switch sig { //nolint:exhaustive // the others have one rule
	case unix.SIGUSR1, unix.SIGUSR2:
		_ = p.tree.Signal(sig)
		return
	case unix.SIGTERM, unix.SIGHUP:
		if !p.first.IsZero() && time.Since(p.first) >= time.Second {
			p.kill(sig)
			return
		}
		if p.first.IsZero() {
			p.first = time.Now()
		}
	}
	if sig != unix.SIGWINCH && !p.tree.RootHandles(sig) {
		p.kill(sig)
		return
	}
	if fromTerminal(sig) {
		return
	}
	_ = p.tree.Signal(sig) // the root may have ended meanwhile: Wait tells
}

func (p *passer) kill(sig unix.Signal) {
	if p.killed == 0 {
		p.killed = 128 + int(sig)
	}
	p.tree.Kill()
}

// fromTerminal reports whether a signal is one that the terminal has sent to the
// whole group.
func fromTerminal(sig unix.Signal) bool {
	return (sig == unix.SIGINT || sig == unix.SIGQUIT || sig == unix.SIGWINCH) && inForeground()
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
