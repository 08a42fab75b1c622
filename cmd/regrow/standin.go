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

// A caller can leave children to regrow that regrow did not start:
//
//	sh -c 'logger & exec regrow restore tree.yaml'
//
// Orphans of the tree become regrow's children, and regrow could not distinguish them
// from the logger and its orphans. So regrow starts itself again as the stand-in, a
// process without children: all children that it ever has belong to the tree.
//
//	caller ─exec─▶ regrow ─────┬──▶ logger            left alone
//	               signals,    └──▶ stand-in ──▶ tree and its orphans
//	               status
//
// The stand-in is in the same session and group, and has the caller's limits, mask,
// ignored signals and descriptors. When regrow dies, SIGKILL ends the stand-in: before
// release no task is left then, after release the tree lives on. See
// docs/decisions/0012-stand-in.md.

// standInVar is the variable that tells a stand-in the pid of its regrow.
const standInVar = "REGROW_STANDS_IN_FOR"

// needsStandIn reports whether the caller left children. It is false in a stand-in.
func needsStandIn() bool {
	if of, ok := os.LookupEnv(standInVar); ok {
		_ = os.Unsetenv(standInVar) // the tasks get the caller's environment
		if of == strconv.Itoa(os.Getppid()) {
			// Its name is "exe", from /proc/self/exe. An error does not matter.
			_ = proc.SetName(filepath.Base(os.Args[0]))
			return false
		}
	}
	return len(restore.Children()) > 0
}

// standIn runs the command in a stand-in, and returns its status.
func standIn() error {
	signals := catch()
	defer signals.stop()
	// The parent-death signal is sent when the thread that forks ends.
	runtime.LockOSThread()
	pid, err := syscall.ForkExec(proc.Exe, os.Args, &syscall.ProcAttr{
		Env:   append(withoutStandIn(os.Environ()), standInVar+"="+strconv.Itoa(os.Getpid())),
		Files: []uintptr{0, 1, 2}, // the other descriptors are inherited unchanged
		Sys:   &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return fmt.Errorf("restore: cannot start a second regrow, which is needed because the caller left children: %w", err)
	}
	child, err := proc.Of(pid) // the pid is the child's until waitFor
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
			// Also a signal that the terminal has sent to the group: the
			// stand-in may not have existed then, and it recognizes a
			// signal that it gets twice.
			if sig, ok := got.(unix.Signal); ok {
				awaitHandler(child, sig)
				_ = child.Signal(sig) // it fails if the child has ended
			}
		}
	}
}

// awaitHandler waits until a child that is starting handles or ignores a signal. Before
// its runtime has set handlers, USR1 and USR2 would end it.
func awaitHandler(child proc.ID, sig unix.Signal) {
	const patience = 500 // ms; a stand-in needs 1 to 3
	for range patience {
		if caught, err := child.Catches(sig); caught || err != nil {
			return // or no such process, or no such /proc: no reason to wait
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // the kernel has no event for a new handler
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

// waitFor waits for one child.
func waitFor(pid int) unix.WaitStatus {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(pid, &status, 0, nil)
		if err == nil && got == pid {
			return status
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			// SIGCHLD is not ignored here, and no other code waits for this
			// child: a bug, or a debugger.
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
