package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leavings are things that a program could leave behind in the machine: the keys name
// processes, mounts, sockets, cgroups and files.
type leavings map[string]bool

// look lists everything that exists, without kernel threads and this process.
func look() (leavings, error) {
	found := leavings{}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == 1 {
			continue
		}
		// State, ppid: fields 3 and 4, after the name in parentheses. The
		// parent of kernel threads is kthreadd, 2.
		stat, err := os.ReadFile("/proc/" + p.Name() + "/stat")
		if err != nil {
			continue // it ended
		}
		_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
		if fields := strings.Fields(rest); pid == 2 || len(fields) > 1 && fields[1] == "2" {
			continue
		}
		if comm, err := os.ReadFile("/proc/" + p.Name() + "/comm"); err == nil {
			found[fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(comm)))] = true
		}
	}
	for what, path := range map[string]string{"mount": "/proc/self/mounts", "Unix socket": "/proc/net/unix"} {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			found[what+" "+strings.TrimSpace(line)] = true
		}
	}
	for what, pattern := range map[string]string{"cgroup": "/sys/fs/cgroup/*/cgroup.procs", "file": "/tmp/*", "shared memory": "/dev/shm/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			found[what+" "+path] = true
		}
	}
	return found, nil
}

// left returns what did not exist before, and ends the processes among it. It waits a
// moment for things that are just ending, and reaps orphans.
func (before leavings) left() ([]string, error) {
	var more []string
	for range 50 {
		reap()
		now, err := look()
		if err != nil {
			return nil, err
		}
		maps.DeleteFunc(now, func(what string, _ bool) bool { return before[what] })
		if more = slices.Sorted(maps.Keys(now)); len(more) == 0 {
			return nil, nil
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // there is no event for the end of a mount or a socket
	}
	for _, what := range more {
		var pid int
		if _, err := fmt.Sscanf(what, "process %d", &pid); err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	return more, nil
}
