package restore

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"regrow/tasktree"
)

// holder tells who has a pid, for the message of a pid in use.
func (p *Plan) holder(pid int) string {
	if p.tree.HasNamespace(tasktree.NamespacePID) {
		return fmt.Sprintf("pid %d is in use", pid) // in a namespace whose /proc is not here
	}
	return fmt.Sprintf("pid %d is in use%s", pid, heldBy("/proc", pid))
}

// entry is what the folder of a process or a thread in /proc says of it.
type entry struct {
	comm           string
	state          string // a letter, see proc_pid_stat(5)
	ppid           int
	group, session int
	tgid           int // another number than its own: a thread
	threads        int
}

// readEntry reads a folder of /proc: proc_pid_stat(5), and of its status what
// stat lacks.
func readEntry(folder string) (e entry, ok bool) {
	text, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return e, false
	}
	open, shut := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
	if open < 0 || shut < open {
		return e, false
	}
	e.comm = string(text[open+1 : shut])
	fields := strings.Fields(string(text[shut+1:])) // from the third on
	const threads = 17
	if len(fields) <= threads {
		return e, false
	}
	e.state = fields[0]
	for i, n := range map[int]*int{1: &e.ppid, 2: &e.group, 3: &e.session, threads: &e.threads} {
		if *n, err = strconv.Atoi(fields[i]); err != nil {
			return e, false
		}
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
func heldBy(proc string, pid int) string {
	e, there := readEntry(fmt.Sprintf("%s/%d", proc, pid))
	switch {
	case !there:
		return heldAsGroup(proc, pid)
	case e.tgid != pid:
		of, _ := readEntry(fmt.Sprintf("%s/%d", proc, e.tgid))
		return fmt.Sprintf(" by %q, a thread of %q (pid %d)", e.comm, of.comm, e.tgid)
	case e.state == "Z" && e.threads > 1:
		return fmt.Sprintf(" by %q, whose main thread has ended and others have not", e.comm)
	case e.state == "Z" || e.state == "X":
		return fmt.Sprintf(" by %q, which has ended and was not waited for%s", e.comm, childOf(proc, e.ppid))
	}
	return fmt.Sprintf(" by %q", e.comm)
}

// childOf names the parent that has not waited.
func childOf(proc string, ppid int) string {
	if parent, ok := readEntry(fmt.Sprintf("%s/%d", proc, ppid)); ok {
		return fmt.Sprintf(" by its parent %q (pid %d)", parent.comm, ppid)
	}
	return ""
}

// heldAsGroup finds a member of the session or process group that has the number. It
// reads /proc for every process.
func heldAsGroup(proc string, pid int) string {
	const nobody = ", and /proc shows nobody who has it: it was freed meanwhile, or is hidden (hidepid)"
	processes, err := os.ReadDir(proc)
	if err != nil {
		return ""
	}
	group := ""
	for _, process := range processes {
		number, err := strconv.Atoi(process.Name())
		if err != nil {
			continue
		}
		switch e, ok := readEntry(proc + "/" + process.Name()); {
		case !ok:
		case e.session == pid:
			return fmt.Sprintf(" as the session of %q (pid %d), whose leader has ended", e.comm, number)
		case e.group == pid && group == "":
			group = fmt.Sprintf(" as the process group of %q (pid %d), whose leader has ended", e.comm, number)
		}
	}
	if group != "" {
		return group
	}
	return nobody
}
