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
// ends the tree. What a second TERM does is said on stderr.
//
//	                 root holds, or is pid 1 without a handler
//	TERM HUP INT QUIT ─────────────────────────────────────────▶ SIGKILL, 128+N
//	   │ otherwise
//	   ├─ TERM: passed; 1 to 10 s after another one ───────────▶ SIGKILL, 143
//	   ├─ HUP: passed, however often: it is the signal to reload
//	   └─ INT QUIT: passed unless the terminal has sent it to the whole group
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
	p := &passer{tree: tree, stderr: stderr}
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
	stderr io.Writer
	terms  termRule
	killed int // the status of a tree that a signal has ended
}

func (p *passer) pass(sig unix.Signal) {
	switch sig { //nolint:exhaustive // the others have one rule
	case unix.SIGUSR1, unix.SIGUSR2:
		_ = p.tree.Signal(sig)
		return
	case unix.SIGTERM:
		if after, insists := p.terms.insists(time.Now()); insists {
			p.kill(sig)
			say(p.stderr, "a second SIGTERM, %v after the first: the tree is ended by SIGKILL", after.Round(100*time.Millisecond))
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
	_ = p.tree.Signal(sig) // the root may have ended meanwhile: Wait tells
}

func (p *passer) kill(sig unix.Signal) {
	if p.killed == 0 {
		p.killed = 128 + int(sig)
	}
	p.tree.Kill()
}

// termRule tells a TERM that insists from one that asks. Who sends TERM to regrow
// and to its group, as timeout(1) does, sends it twice at once and means one
// request; who sends it again some seconds later has waited long enough; and one
// that comes much later has nothing to do with the first.
//
//	first ── less than 1 s ──▶ the same request: passed
//	      ── 1 s to 10 s ────▶ insists: SIGKILL
//	last  ── more than 10 s ─▶ a first one again: passed
type termRule struct {
	first, last time.Time // of the TERMs of one request; zero: none has come
}

const (
	sameRequest = time.Second
	newRequest  = 10 * time.Second
)

// insists notes a TERM that comes now, and reports whether it insists on what an
// earlier one asked for, and how long after the first of these it comes.
func (r *termRule) insists(now time.Time) (after time.Duration, insists bool) {
	if r.first.IsZero() || now.Sub(r.last) > newRequest {
		r.first, r.last = now, now
		return 0, false
	}
	r.last = now
	after = now.Sub(r.first)
	return after, after >= sameRequest
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
