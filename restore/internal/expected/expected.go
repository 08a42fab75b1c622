package expected

import (
	"errors"
	"fmt"
	"maps"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/safepath"
	"regrow/tasktree"
)

// Check compares the files that are there, and the caller's descriptors, with what the
// tree expects of them. The error has all differences: a [*tasktree.InvalidError] of
// descriptors, [*plan.OpError]s of paths.
func Check(p *plan.Plan, opener *safepath.Opener) error {
	return errors.Join(caller(p), plan.JoinPaths(Paths(p, opener)))
}

// Paths gives an [*plan.OpError] for each difference of a path.
func Paths(p *plan.Plan, opener *safepath.Opener) (errs []error) {
	for _, f := range p.Tree.Files {
		e, path := expecting(f), f.Spec.Traits(p.Tree).Path
		if e == nil || path == "" {
			continue
		}
		var st unix.Stat_t
		at := plan.OpError{Source: p.Tree.Source, Pos: f.Pos, What: fmt.Sprintf("file %q", f.Name), AboutPath: true}
		fd, err := opener.Look(path, lookFlags(f), &st)
		if err != nil {
			at.Call, at.Err = fmt.Sprintf("openat2 %q", path), err
			errs = append(errs, &at)
			continue
		}
		_ = unix.Close(fd)
		for _, d := range e.Unexpected(found(&st)) {
			one := at
			one.Call, one.Reason = d.Path, d.Msg
			if d.Pos.IsValid() {
				one.Pos = d.Pos
			}
			errs = append(errs, &one)
		}
	}
	return errs
}

// lookFlags are the flags with which an entry opens its path.
func lookFlags(f *tasktree.OpenFile) int {
	if flagged, ok := f.Spec.(interface{ LookFlags() int }); ok {
		return flagged.LookFlags()
	}
	return 0
}

// expecting gives an open file that is needed and says what it expects, else nil.
func expecting(f *tasktree.OpenFile) tasktree.Expecting {
	if e, ok := f.Spec.(tasktree.Expecting); ok && f.Needed && e.Expects() {
		return e
	}
	return nil
}

func found(st *unix.Stat_t) tasktree.Found {
	return tasktree.Found{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Size: st.Size, Dev: st.Dev, Ino: st.Ino}
}

// caller looks at the caller's descriptors.
func caller(p *plan.Plan) error {
	fds := map[string]int{"stdin": 0, "stdout": 1, "stderr": 2}
	maps.Copy(fds, p.Options.Inherit)
	var problems []tasktree.Problem
	for _, f := range p.Tree.Files {
		e, key := expecting(f), tasktree.CallerKey(f.Spec)
		if e == nil || key == "" {
			continue
		}
		var st unix.Stat_t
		if safepath.Fstat(fds[key], &st) != nil {
			continue // it is not open: the restore says so
		}
		is := found(&st)
		is.Flags, _ = unix.FcntlInt(uintptr(fds[key]), unix.F_GETFL, 0)
		is.Open = true
		for _, d := range e.Unexpected(is) {
			if !d.Pos.IsValid() {
				d.Pos = f.Pos
			}
			d.Path = fmt.Sprintf("files.%s.%s", f.Name, d.Path)
			d.Msg += fmt.Sprintf(" (the caller's descriptor %d)", fds[key])
			problems = append(problems, d)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return &tasktree.InvalidError{Source: p.Tree.Source, Problems: tasktree.SortProblems(problems)}
}
