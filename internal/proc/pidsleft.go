package proc

import (
	"bytes"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// PidsLeft gives how many more processes and threads there may be, as far as that can be
// known, and which limit says so.
func PidsLeft() (room int, limit string) {
	room, limit = userRoom(), "RLIMIT_NPROC (ulimit -u)"
	if groups, err := Cgroups(); err == nil {
		if cgroup := cgroupRoom(groups, "/sys/fs/cgroup"); cgroup < room {
			room, limit = cgroup, "pids.max of the cgroup"
		}
	}
	return room, limit
}

// Unlimited is more than there can be.
const Unlimited = int(^uint(0) >> 1)

// userRoom gives how many processes and threads the user may have beside what there
// is: for RLIMIT_NPROC the kernel counts both together. What the user has in other
// pid namespaces is not seen. The kernel does not limit root.
func userRoom() int {
	var limit unix.Rlimit
	var info unix.Sysinfo_t
	switch {
	case os.Getuid() == 0, unix.Getrlimit(unix.RLIMIT_NPROC, &limit) != nil, limit.Cur >= 1<<15:
		return Unlimited // or as good as that
	case unix.Sysinfo(&info) == nil && int(info.Procs) < int(limit.Cur)/2:
		return int(limit.Cur) - int(info.Procs) // of all users, so there is more
	}
	threads, err := Threads(os.Getuid())
	if err != nil {
		return Unlimited
	}
	return int(limit.Cur) - threads
}

// cgroupRoom gives how many more processes and threads these cgroups and those above them
// may have, see cgroups(7). mounted is where the hierarchies are.
func cgroupRoom(groups []Cgroup, mounted string) int {
	room := Unlimited
	for _, group := range groups {
		top, at := mounted, group.Path
		switch {
		case group.Controllers == "pids": // version 1
			top += "/pids"
		case group.Hierarchy != "0" || group.Controllers != "": // not version 2
			continue
		}
		for ; ; at = path.Dir(at) {
			if limit, ok := number(top + at + "/pids.max"); ok { // else it says max
				now, _ := number(top + at + "/pids.current")
				room = min(room, limit-now)
			}
			if at == path.Dir(at) {
				break
			}
		}
	}
	return room
}

// number reads a file that has a number.
func number(file string) (int, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	return n, err == nil
}
