package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
)

// FirstProgram gives the first of n candidates that is a program. The error is ENOENT,
// or one that is more to the point, of the last candidate that has one.
func FirstProgram(o *safepath.Opener, n int, candidate func(i int) string) (int, error) {
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
// plan.ErrSpecial, or what faccessat(2) answers.
func executableFile(dir int, path string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return unix.EISDIR
	case unix.S_IFREG:
		return safepath.IgnoringEINTR(func() error { return unix.Faccessat(dir, path, unix.X_OK, unix.AT_EACCESS) })
	}
	return plan.ErrSpecial
}

// ExplainPath says what an error of an op that opens a path meant: the kernel's answer, or
// that the path would mean another process.
func ExplainPath(p *plan.Plan, op *program.Op, err error) (words string, why error) {
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
		return op.Args[1], []string{StringAt(p, op.Args[0])}
	case program.OpWay, program.OpReopenAt:
		return p.HowFlags(op.Args[1]), []string{StringAt(p, op.Args[0])}
	case program.OpFind:
		for _, addr := range program.WordsAt(p.Arena.Base, p.Arena.Data(), op.Args[0], int(op.Args[1])) {
			paths = append(paths, StringAt(p, addr))
		}
		return unix.O_PATH | unix.O_CLOEXEC, paths
	default:
	}
	if flags, looks := p.Looks(op); looks {
		return flags, []string{StringAt(p, op.Args[1])}
	}
	return 0, nil
}

// StringAt gives a string of the arena.
func StringAt(p *plan.Plan, addr uint64) string {
	s, _ := program.StringAt(p.Arena.Base, p.Arena.Data(), addr)
	return s
}

// Open opens a file that is not the tree's: again if a signal has interrupted that, as
// network and FUSE file systems let it.
func Open(path string, flags int, mode uint32) (fd int, err error) {
	err = safepath.IgnoringEINTR(func() error {
		fd, err = unix.Open(path, flags, mode)
		return err
	})
	return fd, err
}

// FollowLink gives where the link at the end of a path leads.
func FollowLink(path string) (target string, ok bool) {
	target, err := os.Readlink(path)
	if err != nil {
		return "", false
	}
	if !filepath.IsAbs(target) {
		// Not filepath.Dir: to the kernel "link/.." is not the folder of link.
		target = path[:strings.LastIndexByte(path, '/')+1] + target
	}
	return target, true
}
