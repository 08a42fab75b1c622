package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Status is what /proc/PID/stat says of a process.
type Status struct {
	ID
	Name    string // its comm, 15 bytes at most
	State   byte   // a letter, see proc_pid_stat(5)
	Parent  int    // number of its parent, 0 if that is in no namespace of the caller's
	Group   int
	Session int
	Threads int
}

// Ended reports whether nothing of the process is left but its status.
func (s Status) Ended() bool { return s.State == 'Z' || s.State == 'X' }

// Stat looks at the process that has a number now. The error wraps [os.ErrNotExist]
// if there is none.
func Stat(pid int) (Status, error) {
	s, err := readStat(root + "/" + strconv.Itoa(pid))
	s.PID = pid
	return s, err
}

// readStat returns what a folder of a process or a thread says, but for its PID.
func readStat(folder string) (Status, error) {
	var room [1024]byte // a name of 64 bytes at most, and 50 numbers
	path := folder + "/stat"
	text, err := read(path, room[:0])
	if err != nil {
		return Status{}, err
	}
	s, ok := parseStat(text)
	if !ok {
		return Status{}, fmt.Errorf("%s: odd form: %q", path, text)
	}
	return s, nil
}

// parseStat reads the name, which may have spaces and parentheses, and what follows.
func parseStat(text []byte) (s Status, ok bool) {
	const state, parent, group, session, threads, began = 3, 4, 5, 6, 20, 22 // fields, from 1
	open, name := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || name < open {
		return s, false
	}
	s.Name = string(text[open+1 : name])
	n := state - 1
	for field := range bytes.FieldsSeq(text[name+1:]) {
		n++
		switch n {
		case state:
			s.State = field[0]
			continue
		case parent, group, session, threads, began:
		default:
			continue
		}
		number, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return s, false
		}
		switch n {
		case parent:
			s.Parent = int(number)
		case group:
			s.Group = int(number)
		case session:
			s.Session = int(number)
		case threads:
			s.Threads = int(number)
		case began:
			s.Began = number
			return s, true
		}
	}
	return s, false
}

// read appends a file of /proc to b. Such files are read thousands at a time, so it does
// without the poller and a look at the size.
func read(path string, b []byte) ([]byte, error) { return readFile(path, b, false) }

// readRecord does so for a file that the kernel writes at once (single_open in
// fs/seq_file.c), where a call that does not fill the room has read all of it.
func readRecord(path string, b []byte) ([]byte, error) { return readFile(path, b, true) }

func readFile(path string, b []byte, record bool) ([]byte, error) {
	fd, err := again(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for {
		if len(b) == cap(b) {
			b = append(b, make([]byte, max(1024, len(b)))...)[:len(b)]
		}
		n, err := again(func() (int, error) { return unix.Read(fd, b[len(b):cap(b)]) })
		switch {
		case errors.Is(err, unix.ESRCH): // it has ended since the open
			return nil, &fs.PathError{Op: "read", Path: path, Err: os.ErrNotExist}
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return b, nil
		}
		b = b[:len(b)+n]
		if record && len(b) < cap(b) {
			return b, nil
		}
	}
}

// again makes a call until no signal interrupts it.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
