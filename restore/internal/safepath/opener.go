package safepath

import (
	"errors"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// Resolve is how openat2(2) resolves every path that is opened for somebody else.
const Resolve = unix.RESOLVE_NO_MAGICLINKS

// HasOpenat2 reports whether openat2(2) is there and no sandbox refuses it. It opens
// nothing: a struct open_how of no bytes is EINVAL.
func HasOpenat2() bool {
	_, err := openat2Probe()
	return errors.Is(err, unix.EINVAL)
}

// Opener opens paths. Safe for several goroutines.
type Opener struct {
	old   bool // without openat2
	procs func() (Procs, error)
}

// New makes an opener. An old one does without openat2, so it is only good for paths
// in which [FirstLink] finds no link.
func New(old bool) *Opener {
	return &Opener{old: old, procs: sync.OnceValues(ReadProcs)}
}

// Procs gives the mounts of procfs, as they were when somebody asked first.
func (o *Opener) Procs() (Procs, error) { return o.procs() }

// Open opens a path with flags of open(2), again if a signal has interrupted that, as
// network and FUSE file systems let it. The error is an [Another], or the kernel's.
// The caller closes what it gets, and must let [Opener.Refuse] look at it if it was
// there before.
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

// Look opens a path as a mere place (O_PATH), with O_NOFOLLOW or O_DIRECTORY if flags
// say so, and refuses what would mean another process. It opens no device and lets
// no FIFO's other side through. The caller closes it.
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

// Refuse looks at an open file, fills in st, and gives an [Another] if it would mean
// another process. It borrows fd.
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

// FirstLink gives the part of a path up to its first symbolic link, "" if there is
// none. It counts a link at the end, too.
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
			return "" // whoever opens the path is told the same
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return path[:end]
		}
	}
	return ""
}
