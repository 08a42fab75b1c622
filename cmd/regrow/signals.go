package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"regrow/restore"
)

// signals receives the signals that are sent to regrow.
type signals struct {
	c     chan os.Signal
	child chan os.Signal // SIGCHLD alone: thousands of them must not crowd out the others
	pipe  chan os.Signal
}

// ending are the signals that ask regrow to stop.
var ending = []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT}

// catch receives the signals that regrow handles, except those that the caller
// ignores: under nohup regrow ignores SIGHUP too. It catches SIGPIPE so that writing to
// a pipe without a reader fails with an error, and does not kill regrow in the middle
// of a restore.
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

// untilRelease returns a context that ends when a signal asks regrow to stop. done
// returns all signals that came until it is called, in order: a signal that came too
// late to stop the restore must be forwarded to the tree. No other function may read
// signals before done is called.
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

// signalError is the error that a signal asked regrow to stop.
type signalError struct{ sig unix.Signal }

func (e *signalError) Error() string { return "got " + unix.SignalName(e.sig) }

// untilAnnounced waits until the announcement is written, or until a signal asks
// regrow to stop.
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

// stay forwards signals until the tree has ended, and returns the exit status. came are
// signals to forward first. An error of the announcement ends the tree. A second TERM
// is announced on stderr.
//
//	                 root holds, or is pid 1 without a handler
//	TERM HUP INT QUIT ─────────────────────────────────────────▶ SIGKILL, 128+N
//	   │ otherwise
//	   ├─ TERM: forwarded; 1 to 10 s after another one ────────▶ SIGKILL, 143
//	   ├─ HUP: always forwarded: it means reload
//	   └─ INT QUIT: forwarded unless the terminal has sent it to the whole group
func (s *signals) stay(tree *restore.Tree, came []unix.Signal, announced <-chan error, stderr io.Writer) (int, error) {
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
	p := &forwarder{tree: tree, stderr: stderr}
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
			// If the root has ended before the announcement was written,
			// wait for the announcement, or for a signal.
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

// reapUntil reaps orphans of the tree until the tree has ended. It has a goroutine of
// its own, because thousands of orphans may take long.
func (s *signals) reapUntil(gone <-chan struct{}, tree *restore.Tree) {
	for {
		tree.ReapOrphans() // also once at first: the restore may have received their SIGCHLD
		select {
		case <-gone:
			return
		case <-s.child:
		}
	}
}

// forwarder forwards signals to a tree.
type forwarder struct {
	tree   *restore.Tree
	stderr io.Writer
	terms  termRule
	killed int // the exit status if a signal has ended the tree, else 0
}

func (p *forwarder) pass(sig unix.Signal) {
	switch sig { //nolint:exhaustive // all other signals are handled below
	case unix.SIGUSR1, unix.SIGUSR2:
		_ = p.tree.Signal(sig)
		return
	case unix.SIGTERM:
		if after, insists := p.terms.insists(time.Now()); insists {
			p.kill(sig)
			notice(p.stderr, "got a second SIGTERM, %v after the first: ending the tree by SIGKILL", after.Round(100*time.Millisecond))
			return
		}
	}
	if sig != unix.SIGWINCH && !p.tree.RootHandles(sig) {
		p.kill(sig)
		return
	}
	if fromTerminal(sig) {
		return
	}
	_ = p.tree.Signal(sig) // it fails if the root has ended: Wait reports that
}

func (p *forwarder) kill(sig unix.Signal) {
	if p.killed == 0 {
		p.killed = 128 + int(sig)
	}
	p.tree.Kill()
}

// termRule decides whether a TERM is a first request or insists on an earlier one. A
// program that sends TERM to regrow and to its group, as timeout(1) does, sends it twice
// at once and means one request. A TERM some seconds after another one insists. A TERM
// much later is a new request.
//
//	first ── less than 1 s ──▶ the same request: forwarded
//	      ── 1 s to 10 s ────▶ insists: SIGKILL
//	last  ── more than 10 s ─▶ a new request: forwarded
type termRule struct {
	first, last time.Time // of the TERMs of one request; zero: none has come
}

const (
	sameRequest = time.Second
	newRequest  = 10 * time.Second
)

// insists records a TERM that comes now. It reports whether the TERM insists on an
// earlier request, and how long after the first TERM of that request it comes.
func (r *termRule) insists(now time.Time) (after time.Duration, insists bool) {
	if r.first.IsZero() || now.Sub(r.last) > newRequest {
		r.first, r.last = now, now
		return 0, false
	}
	r.last = now
	after = now.Sub(r.first)
	return after, after >= sameRequest
}

// fromTerminal reports whether the terminal sends this signal to the whole group, so
// that the tree has got it already.
func fromTerminal(sig unix.Signal) bool {
	return (sig == unix.SIGINT || sig == unix.SIGQUIT || sig == unix.SIGWINCH) && inForeground()
}

// inForeground reports whether this process is in the foreground process group of its
// terminal.
func inForeground() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
