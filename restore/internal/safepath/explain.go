package safepath

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// Explain returns the meaning of an error of opening a path with these flags. The
// kernel's error does not show whether the path would mean another process: ELOOP
// stands for a magic link and for a loop, and behind /proc/self a file may be missing
// for one process only. Explain is for messages; it makes several system calls for each
// element of the path.
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

// loop returns the meaning of ELOOP from openat2: [Magic], or ELOOP itself for too many links,
// and for a link that O_NOFOLLOW forbids.
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

// entersProcess reports whether a path leads into a process's own folder of a procfs,
// even if that folder does not exist: its existence and content differ between
// processes. It follows the path as far as possible, and a link at its end only if
// follow is set.
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

// isTop reports whether a folder is the top of a procfs, which has the folders of processes.
func (o *Opener) isTop(dir int) bool {
	var st unix.Stat_t
	procs, err := o.procs()
	if err != nil || unix.Fstat(dir, &st) != nil || !procs.Has(st.Dev) {
		return false
	}
	path, err := proc.FDLink(proc.Caller, dir)
	return err == nil && procs.Another(st.Dev, path+"/1", false) && !procs.Another(st.Dev, path, false)
}
