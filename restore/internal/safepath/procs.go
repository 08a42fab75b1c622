package safepath

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"regrow/internal/proc"
)

// Proc is a place where a procfs, or a part of one, is mounted.
type Proc struct {
	Dev   uint64 // st_dev of all that is there
	Point string // where, without a slash at the end: "" for the root folder
	Part  Part
}

// Part says which part of a procfs a mount shows.
type Part uint8

// The parts.
const (
	Whole  Part = iota // all of it: processes are the folders with numbers at its top
	Own                // an entry of one process, or what is below one
	Common             // what belongs to no process, such as /proc/sys
)

// Procs are all mounts of procfs that a process can reach.
type Procs []Proc

// LongestPoint is the length in bytes of the longest mount point that counts. What
// is below a longer one is refused.
const LongestPoint = 900

// ReadProcs reads the mounts of the calling thread. Without an error there may be
// none.
func ReadProcs() (Procs, error) {
	mounts, err := proc.Mounts("proc")
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, cure(err))
	}
	return procsOf(mounts), nil
}

// procsOf gives those mounts of procfs that count.
func procsOf(mounts []proc.Mount) (all Procs) {
	for _, m := range mounts {
		point := strings.TrimSuffix(m.Point, "/")
		if len(point) <= LongestPoint {
			all = append(all, Proc{Dev: m.Dev, Point: point, Part: partOf(m.Root)})
		}
	}
	return all
}

// partOf says what a mount shows whose root is this path inside the procfs.
func partOf(root string) Part {
	switch {
	case root == "/":
		return Whole
	case ofProcess(root):
		return Own
	}
	return Common
}

// ofProcess reports whether a path inside a procfs begins with a number.
func ofProcess(path string) bool {
	return len(path) > 1 && path[0] == '/' && '0' <= path[1] && path[1] <= '9'
}

// Has reports whether a device is a procfs.
func (p Procs) Has(dev uint64) bool {
	for i := range p {
		if p[i].Dev == dev {
			return true
		}
	}
	return false
}

// Another reports whether what was opened on the procfs dev, at this path in the
// mount namespace of this process, is another thing for each process: an entry of one
// process, or (link) a symbolic link at the top, such as self. A mount that is not
// among p (it was detached, or its point is too long) counts as one of these.
//
// Several mounts of one procfs may have a point at the beginning of the path. Only
// one is the right one, but the kernel shows each of them the same files, so a file
// of a process is one at each.
func (p Procs) Another(dev uint64, path string, link bool) bool {
	known := false
	for _, m := range p {
		rest, below := strings.CutPrefix(path, m.Point)
		if m.Dev != dev || !below || rest != "" && rest[0] != '/' {
			continue
		}
		known = true
		top := link && len(rest) > 1 && strings.LastIndexByte(rest, '/') == 0 // "/" alone is no name
		if m.Part == Own || m.Part == Whole && (ofProcess(rest) || top) {
			return true
		}
	}
	return !known
}

// cure says what helps where /proc cannot be read, unless the error says so itself.
func cure(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return " (is /proc mounted?)"
	}
	return ""
}
