package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// own is the child that this process has started and is waiting for, 0 if none.
var own struct {
	sync.Mutex
	pid int
}

func startOwn(cmd *exec.Cmd) error {
	own.Lock()
	defer own.Unlock()
	err := cmd.Start()
	if err == nil {
		own.pid = cmd.Process.Pid
	}
	return err
}

func waitOwn(cmd *exec.Cmd) error {
	err := cmd.Wait()
	own.Lock()
	defer own.Unlock()
	own.pid = 0
	return err
}

// reapOrphans reaps all orphans of the system, as its first process must.
func reapOrphans() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	for range ended {
		reap()
	}
}

func reap() {
	own.Lock()
	defer own.Unlock()
	threads, _ := filepath.Glob("/proc/1/task/*/children")
	for _, path := range threads {
		text, _ := os.ReadFile(path)
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && pid != own.pid {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
		}
	}
}
