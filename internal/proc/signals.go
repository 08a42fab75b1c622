package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Catches reports whether a process has a handler for a signal. The error says that
// the process has been waited for, or that /proc cannot be read.
func (id ID) Catches(sig unix.Signal) (bool, error) {
	mask, err := SignalMask(strconv.Itoa(id.PID), "SigCgt")
	if err == nil && !id.Exists() {
		err = fmt.Errorf("process %d: %w", id.PID, os.ErrNotExist)
	}
	if err != nil {
		return false, err
	}
	return mask>>(sig-1)&1 == 1, nil
}

// SignalMask reads a mask of signals of a process, its number or "self": SigBlk,
// SigIgn or SigCgt of proc_pid_status(5). The bit of signal 1 is the lowest. Where the
// kernel tells none it is 0.
func SignalMask(pid, field string) (uint64, error) {
	var room [4096]byte
	path := "/proc/" + pid + "/status"
	status, err := read(path, room[:0])
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if hex, ok := bytes.CutPrefix(line, []byte(field+":")); ok {
			mask, err := strconv.ParseUint(string(bytes.TrimSpace(hex)), 16, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %s: %w", path, field, err)
			}
			return mask, nil
		}
	}
	return 0, nil
}
