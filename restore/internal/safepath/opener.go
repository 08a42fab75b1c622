package safepath

import (
	"errors"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// Resolve is the resolve mode of openat2(2) for all paths.
const Resolve = unix.RESOLVE_NO_MAGICLINKS

// HasOpenat2 reports whether openat2(2) exists and no sandbox refuses it. It opens nothing: a
// struct open_how of size 0 gives EINVAL.
func HasOpenat2() bool {
	_, err := openat2Probe()
	return errors.Is(err, unix.EINVAL)
}

// Opener opens paths. Safe for several goroutines.
type Opener struct {
	old   bool // without openat2
	procs func() (Procs, error)
}

// New returns an Opener. If old is set it does not use openat2, and is safe only for paths in
// which [FirstLink] finds no link.
func New(old bool) *Opener {
	return &Opener{old: old, procs: sync.OnceValues(ReadProcs)}
}

// Procs returns the mounts of procfs, as they were at the first call.
func (o *Opener) Procs() (Procs, error) { return o.procs() }

// Open opens a path with flags of open(2), and repeats the call after EINTR, which
// network and FUSE file systems may return. The error is an [Another], or the kernel's.
// The caller closes the result, and must check it with [Opener.Refuse] if the path
// existed before.
func (o *Opener) Open(path string, flags int, mode uint32) (int, error) {
	return o.openAt(unix.AT_FDCWD, path, flags, mode)
}

func (o *Opener) openAt(dir int, path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := o.open(dir, path, flags, mode)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ELOOP) && !o.old:
			return -1, loop(dir, path, flags)
		}
		return fd, err
	}
}

func (o *Opener) open(dir int, path string, flags int, mode uint32) (int, error) {
	if o.old {
		return unix.Openat(dir, path, flags, mode)
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: Resolve}
	if flags&unix.O_CREAT != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE {
		how.Mode = uint64(mode)
	}
	return unix.Openat2(dir, path, &how)
}

// Look opens a path with O_PATH, and with O_NOFOLLOW or O_DIRECTORY if they are in
// flags, and refuses a path that would mean another process. It does not open a device,
// or release a process that waits at the other end of a FIFO. The caller closes the
// result.
func (o *Opener) Look(path string, flags int, st *unix.Stat_t) (int, error) {
	return o.LookAt(unix.AT_FDCWD, path, flags, st)
}

// LookAt is Look for a path that starts at the folder dir, which it borrows.
func (o *Opener) LookAt(dir int, path string, flags int, st *unix.Stat_t) (int, error) {
	fd, err := o.openAt(dir, path, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return -1, err
	}
	if err := o.Refuse(fd, st); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Refuse stats an open file into st, and returns an [Another] if the path would mean another
// process. It borrows fd.
func (o *Opener) Refuse(fd int, st *unix.Stat_t) error {
	for {
		if err := unix.Fstat(fd, st); err == nil {
			break
		} else if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFCHR && st.Rdev == TerminalDevice {
		return Terminal
	}
	if unix.Major(st.Dev) != 0 {
		return nil // procfs has no device
	}
	procs, err := o.procs()
	if err != nil || !procs.Has(st.Dev) {
		return err
	}
	path, err := proc.FDLink(proc.Caller, fd)
	if err != nil {
		return err
	}
	if procs.Another(st.Dev, path, kind == unix.S_IFLNK) {
		return Process
	}
	return nil
}

// FirstLink returns the prefix of a path up to its first symbolic link, also one at its end,
// or "" if there is none.
func FirstLink(path string) string {
	for end := 0; end < len(path); {
		for end < len(path) && path[end] == '/' {
			end++
		}
		if next := strings.IndexByte(path[end:], '/'); next >= 0 {
			end += next
		} else {
			end = len(path)
		}
		var st unix.Stat_t
		if unix.Lstat(path[:end], &st) != nil {
			return "" // opening the path fails, too
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return path[:end]
		}
	}
	return ""
}
