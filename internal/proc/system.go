package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// SysPath returns the path of a parameter, or of a folder of them, by its name below
// /proc/sys: "kernel/pid_max", see proc_sys(5).
func SysPath(name string) string { return root + "/sys/" + name }

// Sys reads a parameter, without the line's end: see [SysPath].
func Sys(name string) (string, error) {
	var room [256]byte
	text, err := read(SysPath(name), room[:0])
	return string(bytes.TrimSpace(text)), err
}

// HasFilesystem reports whether the kernel knows a kind of file system that needs no
// device, such as "binfmt_misc", now: one in a module that is not loaded does not count.
func HasFilesystem(kind string) (bool, error) {
	text, err := read(root+"/filesystems", make([]byte, 0, 4096))
	return bytes.Contains(text, []byte("\t"+kind+"\n")), err
}

// Mount is a mount in a mount namespace, see proc_pid_mountinfo(5).
type Mount struct {
	Dev   uint64 // st_dev of what is there
	Root  string // what of the file system is shown: "/" for all of it
	Point string // where, from the root folder of the process
}

const mountInfo = root + "/thread-self/mountinfo" // since Linux 3.17

// Mounts lists the mounts of one kind of file system ("proc", "tmpfs") that the calling
// thread sees, in the order in which they were mounted.
func Mounts(kind string) ([]Mount, error) {
	text, err := read(mountInfo, make([]byte, 0, 16<<10))
	if err != nil {
		return nil, err
	}
	mounts, err := parseMounts(string(text), kind)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", mountInfo, err)
	}
	return mounts, nil
}

// MountKinds returns the kind of file system ("ext4", "fuse.sshfs") of each mount that the
// calling thread sees, by mount point; of several at one point the last one.
func MountKinds() (map[string]string, error) {
	text, err := read(mountInfo, make([]byte, 0, 16<<10))
	if err != nil {
		return nil, err
	}
	mounts, err := mountinfo.GetMountsFromReader(bytes.NewReader(text), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", mountInfo, err)
	}
	kinds := make(map[string]string, len(mounts))
	for _, m := range mounts {
		kinds[m.Mountpoint] = m.FSType
	}
	return kinds, nil
}

func parseMounts(text, kind string) (all []Mount, err error) {
	mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(text), mountinfo.FSTypeFilter(kind))
	for _, m := range mounts {
		all = append(all, Mount{Dev: unix.Mkdev(uint32(m.Major), uint32(m.Minor)), Root: m.Root, Point: m.Mountpoint})
	}
	return all, err
}

// InFirstUserNamespace reports whether the user namespace of the calling process is the
// first one, which alone maps every user to itself.
func InFirstUserNamespace() bool {
	var room [256]byte
	ids, err := read(folder(Caller)+"/uid_map", room[:0])
	return err == nil && string(bytes.Join(bytes.Fields(ids), []byte(" "))) == "0 0 4294967295"
}

// Threads counts the threads of all processes that a user has and /proc shows: what
// RLIMIT_NPROC bounds, but for those in pid namespaces that are not below the caller's.
// It looks at every process.
func Threads(uid int) (n int, err error) {
	pids, err := All()
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		var info unix.Stat_t
		if unix.Stat(folder(pid)+"/task", &info) == nil && int(info.Uid) == uid {
			n += int(info.Nlink) - 2 // a folder for each thread
		}
	}
	return n, nil
}

// All lists the processes that /proc shows, by their numbers. With the mount option
// hidepid that is not all of them, see proc(5).
func All() (pids []int, err error) { return processesIn(root) }

func processesIn(root string) (pids []int, err error) {
	entries, err := os.ReadDir(root)
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil { // the rest is no process, or "self", a second time
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// Cgroup is the place of a process in one hierarchy of cgroups, see cgroups(7).
type Cgroup struct {
	Hierarchy   string // its number, "0" for version 2
	Controllers string // of version 1, with commas; "" for version 2
	Path        string // from the root of the hierarchy, as the caller's cgroup namespace shows it
}

// Cgroups returns the places of the calling process. Since Linux 2.6.24.
func Cgroups() ([]Cgroup, error) {
	text, err := read(folder(Caller)+"/cgroup", make([]byte, 0, 1024))
	if err != nil {
		return nil, err
	}
	return ParseCgroups(string(text)), nil
}

// ParseCgroups reads the form of /proc/PID/cgroup. It takes any text: what a line lacks
// is "".
func ParseCgroups(text string) (all []Cgroup) {
	for line := range strings.Lines(text) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		all = append(all, Cgroup{id, controllers, path})
	}
	return all
}
