package runner

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"regrow/internal/proc"
	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// holderOf tells who has a pid, for the message of a pid in use.
func holderOf(p *plan.Plan, pid int) string {
	if p.Tree.HasNamespace(tasktree.NamespacePID) {
		return fmt.Sprintf("pid %d is in use", pid) // in a namespace whose /proc is not here
	}
	return fmt.Sprintf("pid %d is in use%s", pid, heldBy("/proc", pid))
}

// entry is what the folder of a process or a thread in /proc says of it.
type entry struct {
	proc.Status

	tgid int // another number than its own: a thread
}

// readEntry reads a folder of /proc: its stat, and of its status what stat lacks.
func readEntry(folder string) (e entry, ok bool) {
	var err error
	if e.Status, err = proc.ReadStat(folder); err != nil {
		return e, false
	}
	status, err := os.ReadFile(folder + "/status")
	if err != nil {
		return e, false
	}
	for line := range strings.Lines(string(status)) {
		if value, is := strings.CutPrefix(line, "Tgid:"); is {
			e.tgid, err = strconv.Atoi(strings.TrimSpace(value))
			return e, err == nil
		}
	}
	return e, false
}

// heldBy says by whom a number is held: a process, also one that has ended, a thread,
// which no listing of /proc shows, or a session or process group whose leader is gone
// (the kernel gives none of these numbers to anybody else).
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
	processes, err := os.ReadDir(root)
	if err != nil {
		return ""
	}
	group := ""
	for _, process := range processes {
		number, err := strconv.Atoi(process.Name())
		if err != nil {
			continue
		}
		switch e, ok := readEntry(root + "/" + process.Name()); {
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
