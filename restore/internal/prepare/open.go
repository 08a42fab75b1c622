package prepare

import (
	"errors"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/safepath"
	"regrow/restore/internal/words"
	"regrow/tasktree/recipe"
)

// paths opens paths for the runner. Tasks do the same by ops, see package postfork.
type paths struct{ opener *safepath.Opener }

// refuse looks at an open file: whether its type is one of those refused, and whether
// it would mean another process.
func (p paths) refuse(fd int, types recipe.FileTypes) opFailure {
	var st unix.Stat_t
	if err := p.opener.Refuse(fd, &st); err != nil {
		return opFailure{err: err}
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFIFO && types&recipe.TypeFIFO != 0:
		return opFailure{reason: words.AFIFO}
	case kind == unix.S_IFSOCK && types&recipe.TypeSocket != 0:
		return opFailure{reason: words.ASocket}
	case kind != unix.S_IFIFO && types&recipe.TypeNoFIFO != 0:
		return opFailure{reason: words.NoFIFO}
	}
	return opFailure{}
}

// reopen opens what a descriptor has open once more, with flags of open(2).
func reopen(fd, flags int) (int, error) {
	return host.Open(proc.FDPath(proc.Caller, fd), flags, 0)
}

// settable are the flags of an open file that fcntl(F_SETFL) changes, without
// O_NONBLOCK.
const settable = unix.O_APPEND | unix.O_ASYNC | unix.O_DIRECT | unix.O_NOATIME

// reopenAt opens a path with O_NOFOLLOW, which a file keeps only if its path itself is
// opened, and demands that it leads to what look has open. O_NONBLOCK is among the
// flags: a FIFO may have come there meanwhile. It is taken away afterwards, unless it
// stays.
func (p paths) reopenAt(path string, flags, look int, stays bool) (int64, opFailure) {
	fd, err := p.opener.Open(path, flags, 0)
	const tries = 8
	for i := 0; errors.Is(err, unix.EAGAIN) && i < tries; i++ {
		// Somebody has a lease (F_SETLEASE in fcntl(2)). Without O_NONBLOCK
		// the kernel waits until that is over.
		if fd, err = reopen(look, flags&^(unix.O_NOFOLLOW|unix.O_NONBLOCK)); err == nil {
			_ = unix.Close(fd)
			fd, err = p.opener.Open(path, flags, 0)
		}
	}
	if err != nil {
		return 0, opFailure{err: err}
	}
	var was, is unix.Stat_t
	err = errors.Join(safepath.Fstat(look, &was), safepath.Fstat(fd, &is))
	if err == nil && !stays {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&settable)
	}
	switch {
	case err != nil:
		return 0, closing(fd, err)
	case was.Dev != is.Dev || was.Ino != is.Ino:
		_ = unix.Close(fd)
		return 0, opFailure{reason: words.Changed}
	}
	return int64(fd), opFailure{}
}

// way checks where a path leads, as a task with the same rights will.
func (p paths) way(path string, flags int) error {
	var st unix.Stat_t
	fd, err := p.opener.Look(path, flags&^(unix.O_PATH|unix.O_CLOEXEC), &st)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// openThere opens a file that was there before: looked at first, since opening
// a FIFO would block or let its other side through.
func (p paths) openThere(path string, flags int, types recipe.FileTypes) (int64, opFailure) {
	look, err := p.opener.Open(path, unix.O_PATH|unix.O_CLOEXEC|flags&unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0, opFailure{err: err}
	}
	defer unix.Close(look)
	if f := p.refuse(look, types); f.err != nil || f.reason != "" {
		return 0, f
	}
	if flags&unix.O_NOFOLLOW != 0 {
		return p.reopenAt(path, flags|unix.O_NONBLOCK, look, flags&unix.O_NONBLOCK != 0)
	}
	fd, err := reopen(look, flags)
	return int64(fd), opFailure{err: err}
}
