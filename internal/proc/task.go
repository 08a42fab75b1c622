package proc

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrHidden says that a process is there and /proc does not show it: the mount option
// hidepid, see proc(5). It matches [os.ErrPermission], and not [os.ErrNotExist].
var ErrHidden error = hiddenError{}

type hiddenError struct{}

func (hiddenError) Error() string { return "/proc does not show it (hidepid)" }

// Is makes the error match [os.ErrPermission].
func (hiddenError) Is(target error) bool { return target == os.ErrPermission }

// Look is [Stat] that tells a process that is hidden, [ErrHidden], from one that is gone.
func Look(pid int) (Status, error) {
	s, err := Stat(pid)
	if !errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	if kill := unix.Kill(pid, 0); kill != nil && !errors.Is(kill, unix.EPERM) {
		return s, err
	}
	if s, again := Stat(pid); again == nil { // it has just begun
		return s, nil
	}
	return s, ErrHidden
}

// ChildPIDs lists the numbers of a process's children, those of each of its threads in
// the order in which it has made them, and those that /proc hides, too: see
// proc_tid_children(5). Some may be missing where others come
// and go.
func ChildPIDs(of Status) []int {
	return of.numbers()
}

// Arguments returns the argument list of a process, empty for one that has ended. The
// process may have overwritten it.
func Arguments(pid int) ([]string, error) { return texts(pid, "cmdline") }

// Environment returns the variables that a process has begun its program with, as far as
// it has not overwritten them. It needs the right to look at the process.
func Environment(pid int) ([]string, error) { return texts(pid, "environ") }

// texts reads a file of texts that end with a NUL each.
func texts(pid int, name string) (all []string, err error) {
	var room [4096]byte
	text, err := read(folder(pid)+"/"+name, room[:0])
	if err != nil || len(text) == 0 {
		return nil, err
	}
	for s := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte{0}), []byte{0}) {
		all = append(all, string(s))
	}
	return all, nil
}

// Cwd returns the current folder of a process, as the caller's root folder shows it. It
// needs the right to look at the process.
func Cwd(pid int) (string, error) { return taskLink(pid, "cwd") }

// Program returns the program file of a process in the same way.
func Program(pid int) (string, error) { return taskLink(pid, "exe") }

// Namespace names the namespace of a kind ("pid", "user") that a process is in: equal
// names are one namespace. It needs the right to look at the process.
func Namespace(pid int, kind string) (string, error) { return taskLink(pid, "ns/"+kind) }

func taskLink(pid int, name string) (string, error) {
	path := folder(pid) + "/" + name
	var link [unix.PathMax]byte
	n, err := again(func() (int, error) { return unix.Readlink(path, link[:]) })
	if err == nil && n == 0 { // what some kernels say of a namespace to whom may not look
		err = unix.EACCES
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	return string(link[:n]), nil
}

// PIDs returns the numbers of a process in the pid namespaces that it is in, from that of
// /proc down to its own: see NSpid of proc_pid_status(5). Since Linux 4.1.
func PIDs(pid int) ([]int, error) {
	list, err := StatusField(pid, "NSpid")
	if err != nil {
		return nil, err
	}
	var all []int
	for f := range bytes.FieldsSeq([]byte(list)) {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}
