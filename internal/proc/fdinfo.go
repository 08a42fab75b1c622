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

// FDInfo is what /proc/PID/fdinfo/N says of a descriptor, see proc_pid_fdinfo(5). The
// kernel asks no file's server for it.
type FDInfo struct {
	Pos   int64  // offset of the open file, in bytes
	Flags int    // of open(2), and O_CLOEXEC if the descriptor has close-on-exec
	Mount int    // ID of the mount; since Linux 3.15
	Inode uint64 // since Linux 5.14, else 0
	Text  []byte // all of it, with the fields that a kind of file has beside these
}

// ReadFDInfo reads it. [Caller]'s descriptors are read with the PID Caller.
func ReadFDInfo(pid, fd int) (FDInfo, error) {
	return readFDInfo(folder(pid) + "/fdinfo/" + strconv.Itoa(fd))
}

func readFDInfo(path string) (info FDInfo, err error) {
	var room [1024]byte
	text, err := readRecord(path, room[:0])
	if err != nil {
		return info, err
	}
	if info, err = parseFDInfo(text); err != nil {
		return info, fmt.Errorf("%s: %w", path, err)
	}
	return info, nil
}

func parseFDInfo(text []byte) (info FDInfo, err error) {
	const decimal, octal = 10, 8
	number := func(name string, base int) uint64 {
		value, ok := field(text, name)
		if !ok {
			return 0
		}
		n, wrong := strconv.ParseUint(string(value), base, 64)
		if wrong != nil && err == nil {
			err = fmt.Errorf("%s: %w", name, wrong)
		}
		return n
	}
	if _, ok := field(text, "flags"); !ok {
		return info, errors.New("it has no flags")
	}
	pos, _ := field(text, "pos")
	if info.Pos, err = strconv.ParseInt(string(pos), decimal, 64); err != nil {
		return info, fmt.Errorf("pos: %w", err)
	}
	info.Flags = int(number("flags", octal))
	info.Mount = int(number("mnt_id", decimal))
	info.Inode = number("ino", decimal)
	info.Text = bytes.Clone(text)
	return info, err
}

// Field returns a field by its name, "" where there is none of this name.
func (i *FDInfo) Field(name string) string {
	value, _ := field(i.Text, name)
	return string(value)
}

// Statx is statx(2) for what a descriptor of a process leads to, with what the kernel
// has of it: no file's server is asked (AT_STATX_DONT_SYNC). Since Linux 4.11, the ID of
// the mount since 5.8.
func Statx(pid, fd int, st *unix.Statx_t) error {
	path := FDPath(pid, fd)
	const mask = unix.STATX_BASIC_STATS | unix.STATX_MNT_ID
	_, err := again(func() (int, error) {
		return 0, unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, mask, st)
	})
	if err != nil {
		return &fs.PathError{Op: "statx", Path: path, Err: err}
	}
	return nil
}

// CopyFD returns a descriptor of the caller's for the open file of a process's, see
// pidfd_getfd(2), which the caller closes: at once, since a pipe's reader gets no end of
// file as long as it is open. Not for regular files and folders: their server may keep
// whoever closes the copy waiting for ever. Since Linux 5.6.
func CopyFD(id ID, fd int) (copied int, err error) {
	err = id.byPIDFD(func(pidfd int) error {
		copied, err = again(func() (int, error) { return unix.PidfdGetfd(pidfd, fd, 0) })
		return os.NewSyscallError("pidfd_getfd", err)
	})
	return copied, err
}
