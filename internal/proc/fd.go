package proc

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// FDPath returns the path of a descriptor's link: to be opened, which opens the same file
// anew, or to be followed by a call that takes a path.
func FDPath(pid, fd int) string { return folder(pid) + "/fd/" + strconv.Itoa(fd) }

// FDs lists the descriptors of a process, ascending. [Caller]'s have the one by which
// they are read, which is closed when FDs returns.
func FDs(pid int) ([]int, error) {
	path := folder(pid) + "/fd"
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	numbers := make([]int, len(entries))
	for i, e := range entries {
		if numbers[i], err = strconv.Atoi(e.Name()); err != nil {
			return nil, fmt.Errorf("%s: odd name %q", path, e.Name())
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// FDLink returns what a descriptor leads to, in the words of proc_pid_fd(5): a path in the
// mount namespace of the caller, or a kind and a number like pipe:[4711].
func FDLink(pid, fd int) (string, error) {
	path := FDPath(pid, fd)
	var link [unix.PathMax]byte // the kernel gives no longer one
	n, err := again(func() (int, error) { return unix.Readlink(path, link[:]) })
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	return string(link[:n]), nil
}

// field returns the value in a line like "name:	value".
func field(text []byte, name string) (value []byte, ok bool) {
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok && len(value) > 0 && value[0] == ':' {
			return bytes.TrimSpace(value[1:]), true
		}
	}
	return nil, false
}
