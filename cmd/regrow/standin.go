package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore"
)

// A caller may leave regrow children that regrow did not start:
//
//	sh -c 'logger & exec regrow restore tree.yaml'
//
// The kernel gives a tree's orphans to regrow, and then nothing tells these from
// such children, or from what those orphan. So regrow starts itself again, as a
// child that has no children yet: all that it ever has are the tree's.
//
//	caller ─exec─▶ regrow ─────┬──▶ logger            left alone
//	               signals,    └──▶ stand-in ──▶ tree, and all that it orphans
//	               status
//
// The stand-in is in the same session and group, has the caller's limits, mask,
// ignored signals and descriptors, and ends by SIGKILL if regrow does: before
// release nothing is left then, after it the tree lives on.

// standInVar is the variable that tells the stand-in whose it is.
const standInVar = "REGROW_STANDS_IN_FOR"

// needsStandIn reports whether the caller left children. A stand-in has none, and
// never gets one of its own.
func needsStandIn() bool {
	if of, ok := os.LookupEnv(standInVar); ok {
		_ = os.Unsetenv(standInVar) // the tasks get the caller's environment
		if of == strconv.Itoa(os.Getppid()) {
			// Not "exe", where it was started from; no matter if it stays so.
			_ = proc.SetName(filepath.Base(os.Args[0]))
			return false
		}
	}
	return len(restore.Children()) > 0
}

// standIn lets a stand-in run the command, and gives its status.
func standIn() error {
	signals := catch()
	defer signals.stop()
	// The parent-death signal is that of the thread that forks.
	runtime.LockOSThread()
	pid, err := syscall.ForkExec(proc.Exe, os.Args, &syscall.ProcAttr{
		Env:   append(withoutStandIn(os.Environ()), standInVar+"="+strconv.Itoa(os.Getpid())),
		Files: []uintptr{0, 1, 2}, // the others are inherited as they are
		Sys:   &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return fmt.Errorf("restore: the caller left children, so regrow starts itself again to keep them apart from the tree's: %w", err)
	}
	child, err := proc.Of(pid) // nobody has waited for it yet
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_ = waitFor(pid)
		return fmt.Errorf("restore: %w", err)
	}
	ended := make(chan unix.WaitStatus, 1)
	go func() { ended <- waitFor(pid) }()
	for {
		select {
		case status := <-ended:
			if code := (restore.Status{Code: status.ExitStatus(), Signal: signalOf(status)}).ExitStatus(); code != 0 {
				return &exitError{code, nil}
			}
			return nil
		case got := <-signals.c:
			// What the terminal has sent to the group, too: there may not have
			// been a stand-in yet, and it knows what it gets twice.
			if sig, ok := got.(unix.Signal); ok {
				awaitHandler(child, sig)
				_ = child.Signal(sig) // it may have ended: ended tells
			}
		}
	}
}

// awaitHandler waits until a child that is starting does something about a signal:
// until its runtime has set handlers, USR1 and USR2 would end it.
func awaitHandler(child proc.ID, sig unix.Signal) {
	const patience = 500 // ms; a stand-in needs 1 to 3
	for range patience {
		if caught, err := child.Catches(sig); caught || err != nil {
			return // or no such process, or no such /proc: no reason to wait
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // nothing tells of a handler
	}
}

func withoutStandIn(env []string) []string {
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, standInVar+"=") {
			kept = append(kept, v)
		}
	}
	return kept
}

// waitFor waits for one child, and no other.
func waitFor(pid int) unix.WaitStatus {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(pid, &status, 0, nil)
		if err == nil && got == pid {
			return status
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			// SIGCHLD is not ignored here, so nobody else has taken the
			// status: a bug, or a debugger.
			return unix.WaitStatus(exitForeFail << 8)
		}
	}
}

func signalOf(status unix.WaitStatus) unix.Signal {
	if status.Signaled() {
		return status.Signal()
	}
	return 0
}
