package safepath

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"regrow/internal/proc"
)

// Proc is a mount of a procfs, or of a part of one.
type Proc struct {
	Dev   uint64 // st_dev of its files
	Point string // mount point, without a slash at the end: "" for the root folder
	Part  Part
}

// Part is the part of a procfs that a mount shows.
type Part uint8

// The parts.
const (
	Whole  Part = iota // all of it, with the folders of processes at its top
	Own                // an entry of one process, or a part of one
	Common             // entries that belong to no process, such as /proc/sys
)

// Procs are all mounts of procfs that a process can reach.
type Procs []Proc

// LongestPoint is the length in bytes of the longest mount point that is recognized. Files
// below a longer one are refused.
const LongestPoint = 900

// ReadProcs reads the mounts of the calling thread. There may be none.
func ReadProcs() (Procs, error) {
	mounts, err := proc.Mounts("proc")
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, cure(err))
	}
	return procsOf(mounts), nil
}

// procsOf returns the recognized mounts of procfs.
func procsOf(mounts []proc.Mount) (all Procs) {
	for _, m := range mounts {
		point := strings.TrimSuffix(m.Point, "/")
		if len(point) <= LongestPoint {
			all = append(all, Proc{Dev: m.Dev, Point: point, Part: partOf(m.Root)})
		}
	}
	return all
}

// partOf returns the part that a mount shows, by the path of its root inside the procfs.
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

// Another reports whether a file that was opened on the procfs dev, at this path in the
// mount namespace of this process, is different for each process: an entry of one
// process, or (link) a symbolic link at the top, such as self. A file of a mount that
// is not in p (it was detached, or its mount point is too long) counts as different.
//
// The path may begin with several mount points of one procfs. Only one of them is
// right, but the kernel shows the same files at each, so an entry of a process is one
// at each.
func (p Procs) Another(dev uint64, path string, link bool) bool {
	known := false
	for _, m := range p {
		rest, below := strings.CutPrefix(path, m.Point)
		if m.Dev != dev || !below || rest != "" && rest[0] != '/' {
			continue
		}
		known = true
		top := link && len(rest) > 1 && strings.LastIndexByte(rest, '/') == 0 // not "/" alone
		if m.Part == Own || m.Part == Whole && (ofProcess(rest) || top) {
			return true
		}
	}
	return !known
}

// cure returns a hint if /proc cannot be read, unless the error has one.
func cure(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return " (is /proc mounted?)"
	}
	return ""
}
