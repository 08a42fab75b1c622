package safepath

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// Explain says what an error of opening a path meant, with the flags it was opened
// with. The kernel's words do not tell whether a path would mean another process: ELOOP
// is its answer for a magic link as for a loop, and behind /proc/self a file may be
// missing for one process and not for another. It is meant for messages, and costs
// several calls for each part of the path.
func (o *Opener) Explain(path string, flags int, err error) error {
	if _, ok := errors.AsType[Another](err); ok || o.old {
		return err
	}
	if errors.Is(err, unix.ELOOP) {
		if err = loop(unix.AT_FDCWD, path, flags); !errors.Is(err, unix.ELOOP) {
			return err
		}
	}
	if o.entersProcess(path, flags&unix.O_NOFOLLOW == 0) {
		return Process
	}
	return err
}

// loop says what ELOOP of openat2 meant: [Magic], or ELOOP itself for too many links,
// and for a link where O_NOFOLLOW allows none.
func loop(dir int, path string, flags int) error {
	fd, err := unix.Openat(dir, path, unix.O_PATH|unix.O_CLOEXEC|flags&(unix.O_NOFOLLOW|unix.O_DIRECTORY), 0)
	if err == nil {
		defer unix.Close(fd)
		var st unix.Stat_t
		if flags&(unix.O_NOFOLLOW|unix.O_PATH) == unix.O_NOFOLLOW && unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return unix.ELOOP
		}
	}
	if errors.Is(err, unix.ELOOP) {
		return err
	}
	return Magic
}

// entersProcess reports whether the way of a path enters a process's own folder on a
// procfs, or one that is not there: whether that exists, and what is in it, is another
// thing for each process. It goes as far as the path leads, and follows a link at its end
// only if follow says so.
func (o *Opener) entersProcess(path string, follow bool) bool {
	start := "."
	if strings.HasPrefix(path, "/") {
		start = "/"
	}
	dir, err := unix.Open(start, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(dir) }()
	const most = 40 // MAXSYMLINKS
	for links := 0; path != "" && links < most; {
		var name string
		name, path, _ = strings.Cut(path, "/")
		if name == "" || name == "." {
			continue
		}
		if ofProcess("/"+name) && o.isTop(dir) {
			return true
		}
		fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		var st unix.Stat_t
		if errors.Is(o.Refuse(fd, &st), Process) {
			_ = unix.Close(fd)
			return true
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK || path == "" && !follow {
			_ = unix.Close(dir)
			dir = fd
			continue
		}
		target := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", target)
		_ = unix.Close(fd)
		if err != nil {
			return false
		}
		links++
		path = string(target[:n]) + "/" + path
		if path[0] == '/' {
			root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				return false
			}
			_ = unix.Close(dir)
			dir = root
		}
	}
	return false
}

// isTop reports whether a folder is the top of a procfs, where processes have theirs.
func (o *Opener) isTop(dir int) bool {
	var st unix.Stat_t
	procs, err := o.procs()
	if err != nil || unix.Fstat(dir, &st) != nil || !procs.Has(st.Dev) {
		return false
	}
	path, err := proc.FDLink(proc.Caller, dir)
	return err == nil && procs.Another(st.Dev, path+"/1", false) && !procs.Another(st.Dev, path, false)
}
