package proc

import (
	"bytes"
	"os"
	"strconv"
)

// Children lists the children of a process, of all its threads: see
// proc_tid_children(5). It is empty if the process has been waited for, whoever has its
// number by now.
//
// missed counts those that were listed and are no children any more. The list is whole
// if there are none: the kernel lists one by one and counts from the start again where
// the last one has gone meanwhile, which hides another one, and what a child has left
// behind may have come to this process after the list was read.
func Children(of ID) (all []Status, missed int) {
	parent, err := Stat(of.PID)
	if err != nil || parent.ID != of {
		return nil, 0
	}
	return parent.children()
}

// OwnChildren lists the children of the calling process by their numbers, or nothing
// where /proc is not its own.
func OwnChildren() (pids []int) {
	self, err := Self()
	if err != nil {
		return nil
	}
	all, _ := Children(self)
	for _, p := range all {
		pids = append(pids, p.PID)
	}
	return pids
}

// Descendants lists everything below a process, parents first. Some may be missing
// while others come and go, see [Below].
func Descendants(of ID) []Status {
	all, _ := Below(of)
	return all
}

// Below does the same and counts, as [Children] does, what has gone meanwhile, so that
// others may be missing: processes that have ended, too, since what one has left behind
// may have gone to a parent whose children had been listed by then.
func Below(of ID) (all []Status, missed int) {
	all, missed = Children(of)
	for i := 0; i < len(all); i++ {
		if all[i].Ended() {
			missed++
			continue
		}
		below, gone := all[i].children()
		all, missed = append(all, below...), missed+gone
	}
	return all, missed
}

// children lists the children of a process that was just looked at.
func (s Status) children() (all []Status, missed int) {
	if s.Ended() {
		return nil, 0
	}
	for _, pid := range s.numbers() {
		if child, err := Stat(pid); err == nil && child.Parent == s.PID {
			all = append(all, child)
		} else {
			missed++
		}
	}
	// A number may have become another process's between the list and the look, which
	// then has another parent: unless the parent's own number has changed hands, too.
	if len(all) > 0 && !s.Exists() {
		return nil, 0
	}
	return all, missed
}

// numbers lists the numbers of the children.
func (s Status) numbers() (pids []int) {
	pid := strconv.Itoa(s.PID)
	if s.Threads == 1 {
		return appendNumbers(nil, root+"/"+pid+"/task/"+pid+"/children")
	}
	threads, err := os.ReadDir(root + "/" + pid + "/task")
	if err != nil {
		return nil
	}
	for _, thread := range threads {
		pids = appendNumbers(pids, root+"/"+pid+"/task/"+thread.Name()+"/children")
	}
	return pids
}

func appendNumbers(pids []int, path string) []int {
	var room [256]byte
	text, err := read(path, room[:0])
	if err != nil {
		return pids
	}
	for field := range bytes.FieldsSeq(text) {
		if pid, err := strconv.Atoi(string(field)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
