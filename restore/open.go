package restore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// How the runner opens paths. Tasks do the same by ops, see package postfork.

// onBehalf gives the task for which the runner, or the root task, does an op.
func onBehalf(op *program.Op, note program.Note) (task int, ok bool) {
	switch note.Verb {
	case program.VerbFind:
		return int(op.Args[3]), true
	case program.VerbWay:
		return int(op.Args[2]), true
	default:
		return 0, false
	}
}

// stringAt gives a string of the arena.
func stringAt(p *plan.Plan, addr uint64) string {
	s, _ := program.StringAt(p.Arena.Base, p.Arena.Data(), addr)
	return s
}

// refuse looks at an open file: whether its type is one of those refused, and whether
// it would mean another process.
func (r *run) refuse(fd int, types tasktree.FileTypes) opFailure {
	var st unix.Stat_t
	if err := r.opener.Refuse(fd, &st); err != nil {
		return opFailure{err: err}
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFIFO && types&tasktree.TypeFIFO != 0:
		return opFailure{reason: words.AFIFO}
	case kind == unix.S_IFSOCK && types&tasktree.TypeSocket != 0:
		return opFailure{reason: words.ASocket}
	}
	return opFailure{}
}

// reopen opens what a descriptor has open once more, with flags of open(2).
func reopen(fd, flags int) (int, error) {
	return open(fmt.Sprintf("%s%d", program.FDFolder, fd), flags, 0)
}

// open opens a file that is not the tree's: again if a signal has interrupted that, as
// network and FUSE file systems let it.
func open(path string, flags int, mode uint32) (fd int, err error) {
	err = ignoringEINTR(func() error {
		fd, err = unix.Open(path, flags, mode)
		return err
	})
	return fd, err
}

// settable are the flags of an open file that fcntl(F_SETFL) changes, without
// O_NONBLOCK.
const settable = unix.O_APPEND | unix.O_ASYNC | unix.O_DIRECT | unix.O_NOATIME

// reopenAt opens a path with O_NOFOLLOW, which a file keeps only if its path itself is
// opened, and demands that it leads to what look has open. O_NONBLOCK is among the
// flags: a FIFO may have come there meanwhile. It is taken away afterwards, unless it
// stays.
func (r *run) reopenAt(path string, flags, look int, stays bool) (int64, opFailure) {
	fd, err := r.opener.Open(path, flags, 0)
	const tries = 8
	for i := 0; errors.Is(err, unix.EAGAIN) && i < tries; i++ {
		// Somebody has a lease (F_SETLEASE in fcntl(2)). Without O_NONBLOCK
		// the kernel waits until that is over.
		if fd, err = reopen(look, flags&^(unix.O_NOFOLLOW|unix.O_NONBLOCK)); err == nil {
			_ = unix.Close(fd)
			fd, err = r.opener.Open(path, flags, 0)
		}
	}
	if err != nil {
		return 0, opFailure{err: err}
	}
	var was, is unix.Stat_t
	err = errors.Join(fstat(look, &was), fstat(fd, &is))
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

// way looks where a path leads, as a task will that has the same rights.
func (r *run) way(path string, flags int) error {
	var st unix.Stat_t
	fd, err := r.opener.Look(path, flags&^(unix.O_PATH|unix.O_CLOEXEC), &st)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// firstProgram gives the first of n candidates that is a program. The error is ENOENT,
// or one that is more to the point, of the last candidate that has one.
func firstProgram(o *safepath.Opener, n int, candidate func(i int) string) (int, error) {
	var found error = unix.ENOENT
	for i := range n {
		err := executable(o, candidate(i))
		if err == nil {
			return i, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			found = err
		}
	}
	return -1, found
}

// executable looks whether a path is a program that this process may execute.
func executable(o *safepath.Opener, path string) error {
	var st unix.Stat_t
	fd, err := o.Look(path, 0, &st)
	if err != nil {
		return err
	}
	_ = unix.Close(fd)
	return executableFile(unix.AT_FDCWD, path, &st)
}

// executableFile says why a file that was looked at cannot be executed: EISDIR,
// errSpecial, or what faccessat(2) answers.
func executableFile(dir int, path string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return unix.EISDIR
	case unix.S_IFREG:
		return ignoringEINTR(func() error { return unix.Faccessat(dir, path, unix.X_OK, unix.AT_EACCESS) })
	}
	return plan.ErrSpecial
}

// explainPath says what an error of an op that opens a path meant: the kernel's answer, or
// that the path would mean another process.
func explainPath(p *plan.Plan, op *program.Op, err error) (words string, why error) {
	flags, paths := pathsOf(p, op)
	if p.Host.OldOpen || len(paths) == 0 {
		return "", err
	}
	o := safepath.New(false)
	for _, path := range paths {
		// A candidate of a program has an error of its own.
		was := err
		if op.Kind == program.OpFind {
			fd, lookErr := o.Open(path, int(flags), 0)
			if lookErr == nil {
				_ = unix.Close(fd)
				continue
			}
			was = lookErr
		}
		if err := o.Explain(path, int(flags), was); errors.Is(err, safepath.ErrAnother) {
			return "", err
		}
	}
	if errors.Is(err, unix.ELOOP) && flags&(unix.O_NOFOLLOW|unix.O_PATH) == unix.O_NOFOLLOW {
		return "the path is a link, and O_NOFOLLOW follows none", err
	}
	return "", err
}

// pathsOf gives the paths that an op opens for the tree, and the flags of its open.
func pathsOf(p *plan.Plan, op *program.Op) (flags uint64, paths []string) {
	switch op.Kind {
	case program.OpCreate:
		return op.Args[1], []string{stringAt(p, op.Args[0])}
	case program.OpWay, program.OpReopenAt:
		return p.HowFlags(op.Args[1]), []string{stringAt(p, op.Args[0])}
	case program.OpFind:
		for _, addr := range program.WordsAt(p.Arena.Base, p.Arena.Data(), op.Args[0], int(op.Args[1])) {
			paths = append(paths, stringAt(p, addr))
		}
		return unix.O_PATH | unix.O_CLOEXEC, paths
	default:
	}
	if flags, looks := p.Looks(op); looks {
		return flags, []string{stringAt(p, op.Args[1])}
	}
	return 0, nil
}
