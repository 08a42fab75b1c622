package proc

import (
	"fmt"
	"strconv"
)

// HeldBy says in words by whom a number is held, to follow "pid 7 is in use": a process,
// also one that has ended, a thread, which no listing of /proc shows, or a session or
// process group whose leader is gone (the kernel gives none of these numbers to anybody
// else). For the last of these it looks at every process.
func HeldBy(pid int) string { return heldBy(root, pid) }

// entry is what the folder of a process or a thread says of it.
type entry struct {
	Status

	tgid int // another number than its own: a thread
}

// readEntry reads such a folder: its stat, and of its status what stat lacks.
func readEntry(folder string) (e entry, ok bool) {
	var err error
	if e.Status, err = readStat(folder); err != nil {
		return e, false
	}
	var room [4096]byte
	status, err := read(folder+"/status", room[:0])
	if err != nil {
		return e, false
	}
	tgid, _ := field(status, "Tgid")
	e.tgid, err = strconv.Atoi(string(tgid))
	return e, err == nil
}

func heldBy(root string, pid int) string {
	e, there := readEntry(fmt.Sprintf("%s/%d", root, pid))
	switch {
	case !there:
		return heldAsGroup(root, pid)
	case e.tgid != pid:
		of, _ := readEntry(fmt.Sprintf("%s/%d", root, e.tgid))
		return fmt.Sprintf(" by %q, a thread of %q (pid %d)", e.Name, of.Name, e.tgid)
	case e.State == 'Z' && e.Threads > 1:
		return fmt.Sprintf(" by %q, whose main thread has ended and others have not", e.Name)
	case e.Ended():
		return fmt.Sprintf(" by %q, which has ended and was not waited for%s", e.Name, childOf(root, e.Parent))
	}
	return fmt.Sprintf(" by %q", e.Name)
}

// childOf names the parent that has not waited.
func childOf(root string, ppid int) string {
	if parent, ok := readEntry(fmt.Sprintf("%s/%d", root, ppid)); ok {
		return fmt.Sprintf(" by its parent %q (pid %d)", parent.Name, ppid)
	}
	return ""
}

// heldAsGroup finds a member of the session or process group that has the number. It
// reads /proc for every process.
func heldAsGroup(root string, pid int) string {
	const nobody = ", and /proc shows nobody who has it: it was freed meanwhile, or is hidden (hidepid)"
	processes, err := processesIn(root)
	if err != nil {
		return ""
	}
	group := ""
	for _, number := range processes {
		switch e, ok := readEntry(fmt.Sprintf("%s/%d", root, number)); {
		case !ok:
		case e.Session == pid:
			return fmt.Sprintf(" as the session of %q (pid %d), whose leader has ended", e.Name, number)
		case e.Group == pid && group == "":
			group = fmt.Sprintf(" as the process group of %q (pid %d), whose leader has ended", e.Name, number)
		}
	}
	if group != "" {
		return group
	}
	return nobody
}
