package host

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/execcheck"
	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// opened is a program, or an interpreter, that was opened to look at it.
type opened struct {
	fd   int // for reading, -1: it may not be read, or not be looked at
	path string
	head []byte // its first bytes
}

// ReadAt implements [io.ReaderAt].
func (o opened) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		got, err := unix.Pread(o.fd, b[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return n, err
		case got == 0:
			return n, io.EOF
		default:
			n += got
		}
	}
	return n, nil
}

func (o opened) close() { _ = unix.Close(o.fd) }

// open opens what execve opens, and says which error that has there. A program has
// been found before, so for an interpreter alone it looks whether it may be executed.
func (c *programCheck) open(path, folder string, interpreter bool) (opened, unix.Errno, string) {
	left := opened{fd: -1, path: path}
	dir := unix.AT_FDCWD
	if folder != "" && !strings.HasPrefix(path, "/") {
		fd, err := Open(folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return left, 0, "" // the task's own chdir says so
		}
		defer unix.Close(fd)
		dir = fd
	}
	var st unix.Stat_t
	look, errno := c.lookAt(dir, path, &st)
	if errno != 0 || look < 0 {
		return left, errno, ""
	}
	defer unix.Close(look)
	if interpreter {
		if errno, why := mayExecute(dir, path, &st); errno != 0 {
			return left, errno, why
		}
	}
	if file, ok := c.writers()[inode{st.Dev, st.Ino}]; ok {
		f := c.plan.Tree.Files[file]
		cure := "open that O_RDONLY"
		if tasktree.CallerKey(f.Spec) != "" {
			cure = "hand down a descriptor that only reads"
		}
		return left, unix.ETXTBSY, fmt.Sprintf("the tree holds it open for writing, as file %q at %v; %s, or run a copy", f.Name, f.Pos, cure)
	}
	// Not to read it is no reason not to execute it.
	fd, err := Open(proc.FDPath(proc.Caller, look), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return left, 0, ""
	}
	o := opened{fd: fd, path: path}
	head := make([]byte, execcheck.HeadSize)
	n, err := o.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		o.close()
		return left, 0, ""
	}
	o.head = head[:n]
	return o, 0, ""
}

// lookAt opens a path without opening the file: -1 if another process would find
// another one there, or if that cannot be told.
func (c *programCheck) lookAt(dir int, path string, st *unix.Stat_t) (int, unix.Errno) {
	fd, err := c.opener.LookAt(dir, path, 0, st)
	if err == nil {
		return fd, 0
	}
	switch errno, _ := errors.AsType[unix.Errno](err); errno {
	case unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.ELOOP, unix.ENAMETOOLONG:
		return -1, errno
	default:
		return -1, 0
	}
}

// mayExecute says what forbids to execute a file.
func mayExecute(dir int, path string, st *unix.Stat_t) (unix.Errno, string) {
	switch err := executableFile(dir, path, st); {
	case errors.Is(err, unix.EISDIR):
		return unix.EACCES, "a directory"
	case errors.Is(err, plan.ErrSpecial):
		return unix.EACCES, plan.NoRegular
	case errors.Is(err, unix.EACCES):
		return unix.EACCES, noRight(dir, path)
	}
	return 0, ""
}

// noRight says why a regular file may not be executed.
func noRight(dir int, path string) string {
	fd, err := unix.Openat(dir, path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return noRightToEnter
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0 {
		return "on a file system that is mounted noexec"
	}
	return noRightToEnter
}

// noRightToEnter explains EACCES.
const noRightToEnter = "no right to execute it, which chmod +x would give, or to enter its folder"

// writers gives the files that the tree holds open for writing, by inode: a
// program among them cannot be executed (ETXTBSY). Linux 6.11 and the first 6.12
// let it run all the same, and everywhere it depends on who closes on exec first:
// it is refused in any case.
func (c *programCheck) writers() map[inode]int {
	if c.written != nil {
		return c.written
	}
	c.written = map[inode]int{}
	paths := map[string]bool{}
	for i, f := range c.plan.Tree.Files {
		if !f.Needed {
			continue
		}
		traits := f.Spec.Traits(c.plan.Tree)
		for end := range max(1, len(f.Spec.Ends())) {
			key, writes := inode{}, false
			fd, made := c.fd(plan.FileEnd{File: int32(i), End: int32(end)})
			switch {
			case made && (traits.Writes || tasktree.CallerKey(f.Spec) != "" || tasktree.IsGiven(f.Spec)):
				key, writes = canWrite(fd)
			case made || !traits.Writes || paths[traits.Path]:
			default:
				paths[traits.Path] = true
				var st unix.Stat_t
				writes = unix.Stat(traits.Path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG // else whoever opens it says so
				key = inode{st.Dev, st.Ino}
			}
			if _, known := c.written[key]; writes && !known {
				c.written[key] = i
			}
		}
	}
	return c.written
}

// canWrite gives the regular file that a descriptor can write to, if it is one.
func canWrite(fd int) (file inode, writes bool) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	var st unix.Stat_t
	writes = err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY && flags&unix.O_PATH == 0 &&
		unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
	return inode{st.Dev, st.Ino}, writes
}
