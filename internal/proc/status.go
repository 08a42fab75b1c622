package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// StatusField returns a field of proc_pid_status(5) without the blanks around it, "" where
// the kernel has none of this name.
func StatusField(pid int, name string) (string, error) {
	var room [4096]byte
	text, err := read(folder(pid)+"/status", room[:0])
	if err != nil {
		return "", err
	}
	value, _ := field(text, name)
	return string(value), nil
}

// SignalMask reads a mask of signals of a process: SigBlk, SigIgn or SigCgt of
// proc_pid_status(5). The bit of signal 1 is the lowest. Where the kernel tells none it
// is 0.
func SignalMask(pid int, name string) (uint64, error) {
	hex, err := StatusField(pid, name)
	if err != nil || hex == "" {
		return 0, err
	}
	mask, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%s/status: %s: %w", folder(pid), name, err)
	}
	return mask, nil
}

// Catches reports whether a process has a handler for a signal. The error says that
// the process has been waited for, or that /proc cannot be read.
func (id ID) Catches(sig unix.Signal) (bool, error) {
	mask, err := SignalMask(id.PID, "SigCgt")
	if err == nil && !id.Exists() {
		err = fmt.Errorf("process %d: %w", id.PID, os.ErrNotExist)
	}
	if err != nil {
		return false, err
	}
	return mask>>(sig-1)&1 == 1, nil
}

// InnerPID returns the number that a process has one pid namespace below that of /proc, 0
// if it is in none, or gone. The process may be in others below that. Since Linux 4.1
// (NSpid of proc_pid_status(5)).
func InnerPID(pid int) int {
	var room [4096]byte
	text, err := read(folder(pid)+"/status", room[:0])
	if err != nil {
		return 0
	}
	list, _ := field(text, "NSpid")
	if pids := bytes.Fields(list); len(pids) > 1 { // /proc's namespace, the one below, ...
		inner, _ := strconv.Atoi(string(pids[1]))
		return inner
	}
	return 0
}

// Readable reports, by an error, that a listing of processes would miss some for want of
// a descriptor: it opens what such a listing has open at a time, a folder and a file.
func Readable() error {
	list, err := again(func() (int, error) {
		return unix.Open(folder(Caller)+"/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(list)
	var room [4096]byte
	_, err = read(folder(Caller)+"/status", room[:0])
	return err
}
