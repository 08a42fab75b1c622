package runner

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/restore/internal/words"
	"regrow/tasktree/recipe"
)

// madeFile is a file that this restore has made and removes again if it fails.
type madeFile struct {
	path     string
	dev, ino uint64
}

// madeFiles are the files that a restore has made.
type madeFiles []madeFile

// note keeps that a file was made, or removes it if that comes too late.
func (r *run) note(m madeFile) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gaveUp.Load() {
		madeFiles{m}.remove(r.log)
		return plan.ErrCanceled
	}
	r.made = append(r.made, m)
	return nil
}

// giveUp removes what was made, and lets an op that is still on its way make
// nothing more.
func (r *run) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaveUp.Store(true)
	r.made.remove(r.log)
	r.made = nil
}

// create opens a file, making it if it is not there: first with O_EXCL, so that
// it is certain who made it.
func (r *run) create(op *program.Op) (int64, opFailure) {
	path, _ := program.StringAt(r.plan.Arena.Base, r.plan.Arena.Data(), op.Args[0])
	flags, mode := int(op.Args[1]), uint32(op.Args[2])
	content := program.At(r.plan.Arena.Base, r.plan.Arena.Data(), op.Args[3], op.Args[4])
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		fd, err := r.opener.Open(path, flags, ownerOnly)
		if err != nil {
			return 0, opFailure{err: err}
		}
		return r.fill(fd, flags, mode, content)
	}
	exclusive := flags&unix.O_EXCL != 0
	flags &^= unix.O_EXCL
	const links = 40 // MAXSYMLINKS: a dangling link is followed, as open does
	for range links {
		fd, err := r.opener.Open(path, flags|unix.O_CREAT|unix.O_EXCL, ownerOnly)
		if err == nil {
			var st unix.Stat_t
			if err := safepath.Fstat(fd, &st); err != nil {
				return 0, closing(fd, err)
			}
			if err := r.note(madeFile{path, st.Dev, st.Ino}); err != nil {
				return 0, closing(fd, err)
			}
			return r.fill(fd, flags, mode, content)
		}
		if !errors.Is(err, unix.EEXIST) {
			return 0, opFailure{err: err}
		}
		got, f := int64(0), opFailure{err: err, reason: words.MustCreate}
		if op.Flags&program.FlagMustCreate == 0 {
			got, f = r.openThere(path, flags, recipe.FileTypes(op.Args[5]))
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

// openThere opens a file that was there before: looked at first, since opening
// a FIFO would block or let its other side through.
func (r *run) openThere(path string, flags int, types recipe.FileTypes) (int64, opFailure) {
	look, err := r.opener.Open(path, unix.O_PATH|unix.O_CLOEXEC|flags&unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0, opFailure{err: err}
	}
	defer unix.Close(look)
	if f := r.refuse(look, types); f.err != nil || f.reason != "" {
		return 0, f
	}
	if flags&unix.O_NOFOLLOW != 0 {
		return r.reopenAt(path, flags|unix.O_NONBLOCK, look, flags&unix.O_NONBLOCK != 0)
	}
	fd, err := reopen(look, flags)
	return int64(fd), opFailure{err: err}
}

// ownerOnly is what a file is made with. Its exact mode comes last: it may not
// let the owner write, and writing clears the set-user-ID bit.
const ownerOnly = 0o600

// fill gives a file that was just made its content and its exact mode, whatever
// the umask. It takes fd over.
func (r *run) fill(fd, flags int, mode uint32, content []byte) (int64, opFailure) {
	if f := r.write(fd, flags, content); f.err != nil {
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
func (r *run) write(fd, flags int, content []byte) opFailure {
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

// remove removes the files, if they are still what was made.
func (files madeFiles) remove(log logrus.FieldLogger) {
	for _, m := range slices.Backward(files) { // a folder after what lies in it
		var st unix.Stat_t
		if safepath.IgnoringEINTR(func() error { return unix.Lstat(m.path, &st) }) == nil && st.Dev == m.dev && st.Ino == m.ino {
			if err := safepath.IgnoringEINTR(func() error { return unlink(m.path) }); err != nil {
				log.WithField("path", m.path).Warnf("cannot remove the file that this restore made: %v", err)
			}
		}
	}
}
