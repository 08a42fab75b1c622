package prepare

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/host"
	"regrow/restore/internal/safepath"
	"regrow/restore/internal/words"
	"regrow/tasktree/recipe"
)

// maker makes files, and notes them in undo.
type maker struct {
	paths

	undo *Undo
}

// create opens a file, making it if it is not there: first with O_EXCL, so that it is
// certain who made it. With must, a file that is there is an error; otherwise it must be of
// none of the types.
func (m maker) create(path string, flags int, mode uint32, content []byte, must bool, types recipe.FileTypes) (int64, opFailure) {
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		fd, err := m.opener.Open(path, flags, ownerOnly)
		if err != nil {
			return 0, opFailure{err: err}
		}
		return fill(fd, flags, mode, content)
	}
	exclusive := flags&unix.O_EXCL != 0
	flags &^= unix.O_EXCL
	const links = 40 // MAXSYMLINKS: a dangling link is followed, as open does
	for range links {
		fd, err := m.opener.Open(path, flags|unix.O_CREAT|unix.O_EXCL, ownerOnly)
		if err == nil {
			var st unix.Stat_t
			if err := safepath.Fstat(fd, &st); err != nil {
				return 0, closing(fd, err)
			}
			if err := m.undo.note(madeFile{path, st.Dev, st.Ino}); err != nil {
				return 0, closing(fd, err)
			}
			return fill(fd, flags, mode, content)
		}
		if !errors.Is(err, unix.EEXIST) {
			return 0, opFailure{err: err}
		}
		got, f := int64(0), opFailure{err: err, reason: words.MustCreate}
		if !must {
			got, f = m.openThere(path, flags, types)
		} else if err := safepath.StatPath(path, new(unix.Stat_t)); err != nil && !exclusive {
			f = opFailure{err: err} // ENOENT: a dangling link, perhaps
		}
		target, ok := host.FollowLink(path)
		if !errors.Is(f.err, unix.ENOENT) || !ok || flags&unix.O_NOFOLLOW != 0 {
			return got, f
		}
		path = target
	}
	return 0, opFailure{err: unix.ELOOP}
}

// ownerOnly is what a file is made with. Its exact mode comes last: it may not
// let the owner write, and writing clears the set-user-ID bit.
const ownerOnly = 0o600

// fill gives a file that was just made its content and its exact mode, whatever
// the umask. It takes fd over.
func fill(fd, flags int, mode uint32, content []byte) (int64, opFailure) {
	if f := write(fd, flags, content); f.err != nil {
		return 0, f
	}
	var st unix.Stat_t
	err := safepath.IgnoringEINTR(func() error { return unix.Fchmod(fd, mode) })
	if err == nil {
		err = safepath.Fstat(fd, &st)
	}
	if err != nil {
		return 0, closing(fd, err)
	}
	if got := st.Mode & 0o7777; got != mode {
		// chmod(2) drops the set-group-ID bit in silence.
		_ = unix.Close(fd)
		return 0, opFailure{reason: fmt.Sprintf("the kernel gives the file the mode %#o instead of %#o; the set-group-ID bit needs membership in the file's group", got, mode)}
	}
	return int64(fd), opFailure{}
}

// write gives a file that was just made its content. After an error fd is
// closed.
func write(fd, flags int, content []byte) opFailure {
	if len(content) == 0 {
		return opFailure{}
	}
	w := fd
	if flags&unix.O_ACCMODE == unix.O_RDONLY || flags&(unix.O_APPEND|unix.O_DIRECT) != 0 {
		// The description's own file cannot write this at offset 0. The umask may
		// have left its owner no right to open it another time.
		err := unix.Fchmod(fd, ownerOnly)
		if err != nil {
			return closing(fd, err)
		}
		if w, err = reopen(fd, unix.O_WRONLY|unix.O_CLOEXEC); err != nil {
			return closing(fd, err)
		}
		defer unix.Close(w)
	}
	for off := 0; off < len(content); {
		n, err := unix.Pwrite(w, content[off:], int64(off))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return closing(fd, err)
		}
		off += max(n, 0)
	}
	return opFailure{}
}

// closing closes fd on the way to an error.
func closing(fd int, err error) opFailure {
	_ = unix.Close(fd)
	return opFailure{err: err}
}
