package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// endTimeout is how long a killed process may take to end.
const endTimeout = 20 * time.Second

// endTree ends the tasks of a report and reaps them, in the order of the report, parents
// first. When a task is reaped, its children become children of this process, the
// subreaper. So each pid is that of a child of this process when it is its turn, and cannot
// have been reused. endTree returns the processor time, in nanoseconds, of the processes
// that tasks have reaped themselves: they are not in the report and have ended.
func endTree(pids []int) (reaped int64, err error) {
	var errs []error
	for _, pid := range pids {
		ns, err := end(pid)
		if err != nil {
			errs = append(errs, fmt.Errorf("end task %d: %w", pid, err))
		}
		reaped += ns
	}
	return reaped, errors.Join(errs...)
}

// end kills and reaps one child, and returns the processor time, in nanoseconds, of the
// processes that the child has reaped itself. It refuses a process that is not a child of
// this one.
func end(pid int) (reaped int64, err error) {
	if pid <= 1 {
		return 0, errors.New("not a pid of a task")
	}
	fd, err := unix.PidfdOpen(pid, 0) // since Linux 5.3
	if err != nil {
		return 0, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	// P_PIDFD since Linux 5.4. WNOWAIT does not reap; ECHILD means that it is not a child.
	if err := unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return 0, fmt.Errorf("not a child of ours: %w", os.NewSyscallError("waitid", err))
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return 0, os.NewSyscallError("pidfd_send_signal", err)
	}
	if err := waitReadable(fd, endTimeout); err != nil {
		return 0, err
	}
	reaped, err = reapedBy(pid, fd)
	return reaped, errors.Join(err, os.NewSyscallError("waitid", unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED, nil)))
}

// reapedBy returns the processor time, in nanoseconds, of the processes that an ended child
// has reaped: a task's fork helpers. The resource usage of an ended process includes theirs
// (wait_task_zombie in kernel/exit.c), its schedstat does not. So neither a cgroup nor a
// privilege is needed.
func reapedBy(pid, fd int) (int64, error) {
	const tries = 1000
	for range tries {
		own, err := readCPU(pid)
		if err != nil {
			return 0, err
		}
		var all unix.Rusage // in microseconds, truncated
		if err := unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOWAIT, &all); err != nil {
			return 0, os.NewSyscallError("waitid", err)
		}
		// The pidfd becomes readable shortly before the process leaves its processor.
		switch again, err := readCPU(pid); {
		case err != nil:
			return 0, err
		case again == own:
			return max(all.Utime.Nano()+all.Stime.Nano()-own, 0), nil
		}
	}
	return 0, fmt.Errorf("the processor time of %d grows although it has ended", pid)
}

// readCPU returns the processor time of a process with one thread, in nanoseconds, see
// Documentation/scheduler/sched-stats.rst.
func readCPU(pid int) (int64, error) {
	path := fmt.Sprintf("/proc/%d/schedstat", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(data), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return ns, nil
}

// waitReadable waits until the process of a pidfd has ended.
func waitReadable(fd int, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		left := time.Until(deadline)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(left, 0).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n > 0:
			return nil
		case left <= 0:
			return fmt.Errorf("still there %v after SIGKILL", timeout)
		}
	}
}

// sweep ends every remaining child and the orphans that these leave, and returns their
// number. At this point every child is from the tree: programs that this process itself
// starts are waited for where they are started.
func sweep() (n int, err error) {
	for {
		pids, err := children()
		if err != nil || len(pids) == 0 {
			return n, err
		}
		for _, pid := range pids {
			if _, err := end(pid); err != nil {
				return n, fmt.Errorf("end what regrow left (%d): %w", pid, err)
			}
			n++
		}
	}
}

// children lists the children of all threads of this process. Needs
// CONFIG_PROC_CHILDREN, which every distribution sets; see proc(5).
func children() ([]int, error) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, t := range threads {
		data, err := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		if err != nil {
			if _, gone := os.Stat("/proc/self/task/" + t.Name()); errors.Is(gone, os.ErrNotExist) {
				continue // the thread has ended; its children belong to another thread now
			}
			return nil, err
		}
		for f := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				return nil, fmt.Errorf("/proc/self/task/%s/children: %w", t.Name(), err)
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
