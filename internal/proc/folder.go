package proc

import "strconv"

// Caller is the number that stands for the calling process, as it does in getpgid(2)
// and prlimit(2): what belongs to it is read below /proc/self, in whatever pid namespace
// that /proc is.
const Caller = 0

// Exe leads to the program of whoever follows it, however that file is called by now.
const Exe = "/proc/self/exe"

const root = "/proc"

// folder returns the folder of a process.
func folder(pid int) string {
	if pid == Caller {
		return root + "/self"
	}
	return root + "/" + strconv.Itoa(pid)
}
