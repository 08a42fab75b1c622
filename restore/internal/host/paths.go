package host

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/expected"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/restore/internal/words"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// CheckPaths finds every path, folder and program of a plan that restoring it would not
// find, may not open, or refuses. See the face, package restore.
func CheckPaths(p *plan.Plan) error {
	lacks := LinkLacks(p)
	for _, err := range PathFaults(p) {
		text := strings.TrimPrefix(err.Error(), tasktree.At(p.Tree.Source, plan.PosOf(err))+": restore: ")
		lacks = append(lacks, plan.Lack{Pos: plan.PosOf(err), Msg: text, Cause: err})
	}
	if len(lacks) == 0 {
		return nil
	}
	plan.SortLacks(lacks)
	return &plan.HostError{Source: p.Tree.Source, Lacks: lacks}
}

// pathUse is an op of a plan that opens a path of the description.
type pathUse struct {
	task  int // for which it is, -1: for several
	prog  *program.Program
	op    int
	flags uint64
	paths []string // several: places of a program
}

// pathUses goes through the paths of a plan in the order in which they are opened,
// where that is known: the runner's, then those of each task.
func pathUses(p *plan.Plan) iter.Seq[pathUse] {
	return func(yield func(pathUse) bool) { allPathUses(p, yield) }
}

func allPathUses(p *plan.Plan, yield func(pathUse) bool) {
	programs := []*program.Program{&p.Prepare}
	for i := range p.Tasks {
		programs = append(programs, &p.Tasks[i])
	}
	for n, prog := range programs {
		for i := range prog.Ops {
			op := &prog.Ops[i]
			flags, paths := pathsOf(p, op)
			if makesPath(op) {
				paths = []string{p.Extras[prog.Notes[i].Extra].Path}
			}
			if len(paths) == 0 || op.Kind == program.OpReopenAt { // that one has been looked at
				continue
			}
			use := pathUse{n - 1, prog, i, flags, paths}
			if whose, ok := prog.Notes[i].For(op); ok {
				use.task = whose
			}
			if !yield(use) {
				return
			}
		}
	}
}

// pathLook looks at the paths of a plan.
type pathLook struct {
	plan   *plan.Plan
	opener *safepath.Opener
	user   bool // tasks have other rights than this process
	made   map[place]bool
	found  map[uint64]string // programs, by the cell that gets the address of their path
	errs   []error
	seen   map[string]bool // what errs say already
}

// place is where a file is or would be: a name in a folder.
type place struct {
	dev, ino uint64
	name     string
}

// PathFaults gives an error for each path that cannot be used, sorted by position.
func PathFaults(p *plan.Plan) []error {
	l := &pathLook{
		plan: p, opener: safepath.New(p.Host.OldOpen), user: p.Tree.HasNamespace(tasktree.NamespaceUser),
		made: map[place]bool{}, found: map[uint64]string{}, seen: map[string]bool{},
	}
	for use := range pathUses(p) {
		switch op := &use.prog.Ops[use.op]; {
		case op.Kind == program.OpCreate:
			l.create(use, op)
		case makesPath(op):
			l.makes(use)
		case op.Kind == program.OpWay:
			l.folder(use)
		case op.Kind == program.OpFind:
			l.program(use, op)
		default:
			l.open(use)
		}
	}
	for _, err := range expected.Paths(p, l.opener) {
		l.add(err)
	}
	check := NewProgramCheck(p, func(plan.FileEnd) (int, bool) { return -1, false })
	for _, err := range check.Check(func(cell uint64) (string, bool) { path, ok := l.found[cell]; return path, ok }) {
		l.add(err)
	}
	slices.SortStableFunc(l.errs, func(a, b error) int { return plan.PosOf(a).Compare(plan.PosOf(b)) })
	return l.errs
}

// add keeps an error, once for each place of the description and each call.
func (l *pathLook) add(err error) {
	if key := KeyOf(err); !l.seen[key] {
		l.seen[key] = true
		l.errs = append(l.errs, err)
	}
}

// KeyOf is the same for errors of one path at one place of the description.
func KeyOf(err error) string {
	if op, ok := errors.AsType[*plan.OpError](err); ok {
		return fmt.Sprint(op.Pos, op.Call)
	}
	return err.Error()
}

// fault reports what is wrong at an op, counted from that of the use: the op at which
// the restore would fail.
func (l *pathLook) fault(use pathUse, after int, err error, reason string) {
	i := use.op + after
	failed := words.Failed{Task: use.task, Prog: use.prog, Op: i, Err: err, Reason: reason, Explain: ExplainPath}
	if use.prog.Notes[i].Verb == program.VerbFind {
		l.add(words.ProgramError(l.plan, failed))
		return
	}
	l.add(words.OpError(l.plan, failed))
}

// missing reports whether an error says that there is no file, and none will be made.
func (l *pathLook) missing(path string, err error) bool {
	if !errors.Is(err, unix.ENOENT) {
		return true
	}
	at, atErr := l.placeOf(path)
	return atErr != nil || !l.made[at]
}

// placeOf gives the place of a path that leads to no file.
func (l *pathLook) placeOf(path string) (place, error) {
	folder, name := ".", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		folder, name = path[:i+1], path[i+1:]
	}
	var st unix.Stat_t
	fd, err := l.opener.Look(folder, unix.O_DIRECTORY, &st)
	if err != nil {
		return place{}, err
	}
	defer unix.Close(fd)
	if err := mayAccess(fd, unix.W_OK|unix.X_OK); err != nil {
		return place{}, err
	}
	return place{st.Dev, st.Ino, name}, nil
}

// opens says how a file that must be there is opened, and which ops of the restore do
// that, counted from the first.
type opens struct {
	look   int // O_NOFOLLOW and O_DIRECTORY of the look at it
	types  recipe.FileTypes
	flags  int // of the open that follows
	refuse int // the op that refuses types
	reopen int // the op that opens it, -1: it is a mere place
}

// open looks at a path that is only opened.
func (l *pathLook) open(use pathUse) {
	how := opens{look: int(use.flags), refuse: 1, reopen: -1}
	ops, next := use.prog.Ops, use.op+1
	if next < len(ops) && ops[next].Kind == program.OpRefuse {
		how.types = recipe.FileTypes(ops[next].Args[1])
		next++
	}
	if next < len(ops) {
		if flags, ok := reopenFlags(l.plan, &ops[next]); ok {
			how.flags, how.reopen = int(flags), next-use.op
		}
	}
	l.there(use, use.paths[0], how)
}

// reopenFlags gives the flags with which an op opens what was looked at, if it does.
func reopenFlags(p *plan.Plan, op *program.Op) (flags uint64, ok bool) {
	switch {
	case op.Kind == program.OpReopen:
		return op.Args[1], true
	case op.Kind == program.OpReopenAt:
		return p.HowFlags(op.Args[1]), true
	case op.Kind == program.OpCall && op.Nr == unix.SYS_OPENAT:
		return op.Args[2], strings.HasPrefix(StringAt(p, op.Args[1]), program.FDFolder)
	}
	return 0, false
}

// there looks at a file that must be there.
func (l *pathLook) there(use pathUse, path string, how opens) {
	const looks = unix.O_NOFOLLOW | unix.O_DIRECTORY
	fd, err := l.opener.Open(path, unix.O_PATH|unix.O_CLOEXEC|how.look&looks, 0)
	if err != nil {
		if l.missing(path, err) {
			l.fault(use, 0, err, "")
		}
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := l.opener.Refuse(fd, &st); err != nil {
		l.fault(use, how.refuse, err, "")
		return
	}
	kind := st.Mode & unix.S_IFMT
	switch {
	case kind == unix.S_IFIFO && how.types&recipe.TypeFIFO != 0:
		l.fault(use, how.refuse, nil, words.AFIFO)
	case kind == unix.S_IFSOCK && how.types&recipe.TypeSocket != 0:
		l.fault(use, how.refuse, nil, words.ASocket)
	case kind != unix.S_IFIFO && how.types&recipe.TypeNoFIFO != 0:
		l.fault(use, how.refuse, nil, words.NoFIFO)
	case how.reopen < 0:
	case kind == unix.S_IFLNK:
		l.fault(use, how.reopen, unix.ELOOP, "")
	case kind == unix.S_IFDIR && how.flags&unix.O_ACCMODE != unix.O_RDONLY:
		l.fault(use, how.reopen, unix.EISDIR, "")
	default:
		if err := mayAccess(fd, accessMode(how.flags)); err != nil {
			l.fault(use, how.reopen, err, "")
		}
	}
}

// accessMode gives what access(2) is to be asked for flags of open(2).
func accessMode(flags int) uint32 {
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return unix.R_OK
	case unix.O_WRONLY:
		return unix.W_OK
	}
	return unix.R_OK | unix.W_OK
}

// mayAccess asks for the rights to what a descriptor has open. Only an answer that an
// open gives too is an error.
func mayAccess(fd int, mode uint32) error {
	err := safepath.IgnoringEINTR(func() error {
		return unix.Faccessat(unix.AT_FDCWD, fmt.Sprintf("%s%d", program.FDFolder, fd), mode, unix.AT_EACCESS)
	})
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		return err
	}
	return nil
}

// create looks at a file that is made if it is not there, as run.create goes.
func (l *pathLook) create(use pathUse, op *program.Op) {
	path, flags := use.paths[0], int(use.flags)
	if flags&unix.O_TMPFILE == unix.O_TMPFILE { // the path is its folder
		if _, err := l.placeOf(path + "/"); err != nil {
			l.fault(use, 0, err, "")
		}
		return
	}
	if strings.HasSuffix(path, "/") {
		l.fault(use, 0, unix.EISDIR, "")
		return
	}
	const links = 40 // MAXSYMLINKS: a dangling link is followed, as open does
	for range links {
		var st unix.Stat_t
		switch err := safepath.IgnoringEINTR(func() error { return unix.Lstat(path, &st) }); {
		case err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK && flags&(unix.O_NOFOLLOW|unix.O_EXCL) == 0 && dangles(path):
			next, ok := FollowLink(path)
			if !ok {
				return
			}
			path = next
			continue
		case err == nil && op.Flags&program.FlagMustCreate != 0:
			l.fault(use, 0, unix.EEXIST, words.MustCreate)
		case err == nil:
			l.there(use, path, opens{look: flags & unix.O_NOFOLLOW, types: recipe.FileTypes(op.Args[5]), flags: flags})
		default:
			at, err := l.placeOf(path)
			if err != nil {
				l.fault(use, 0, err, "")
				return
			}
			if l.made[at] && op.Flags&program.FlagMustCreate != 0 {
				l.fault(use, 0, unix.EEXIST, words.MustCreate)
			}
			l.made[at] = true
		}
		return
	}
}

// makesPath reports whether an op makes a file that is no regular one, and that must not
// be there: a FIFO, a folder.
func makesPath(op *program.Op) bool {
	return op.Kind == program.OpCall && op.Flags&program.FlagUndo != 0 && (op.Nr == unix.SYS_MKNODAT || op.Nr == unix.SYS_MKDIRAT)
}

// makes looks at a file that such an op makes.
func (l *pathLook) makes(use pathUse) {
	path := use.paths[0]
	if safepath.IgnoringEINTR(func() error { return unix.Lstat(path, new(unix.Stat_t)) }) == nil {
		l.fault(use, 0, unix.EEXIST, "")
		return
	}
	at, err := l.placeOf(path)
	switch {
	case err != nil:
		l.fault(use, 0, err, "")
	case l.made[at]:
		l.fault(use, 0, unix.EEXIST, "")
	default:
		l.made[at] = true
	}
}

// dangles reports whether a link leads to no file.
func dangles(path string) bool {
	return errors.Is(safepath.StatPath(path, new(unix.Stat_t)), unix.ENOENT)
}

// folder looks at a folder of tasks.
func (l *pathLook) folder(use pathUse) {
	path := use.paths[0]
	var st unix.Stat_t
	fd, err := l.opener.Look(path, unix.O_DIRECTORY, &st)
	if err == nil {
		err = mayAccess(fd, unix.X_OK)
		_ = unix.Close(fd)
	}
	if err == nil || l.user && errors.Is(err, unix.EACCES) {
		return
	}
	for i, task := range l.plan.Tree.Tasks() {
		if task.Cwd.Value == "" || l.plan.Tree.Join(task.Cwd.Value) != path {
			continue
		}
		op := words.OpError(l.plan, words.Failed{Task: i, Prog: use.prog, Op: use.op, Err: err, Explain: ExplainPath})
		op.Pos = task.Cwd.Pos
		l.add(op)
	}
}

// program looks for the program of a task.
func (l *pathLook) program(use pathUse, op *program.Op) {
	i, err := FirstProgram(l.opener, len(use.paths), func(i int) string { return use.paths[i] })
	if err == nil {
		l.found[op.Args[2]] = use.paths[i]
		return
	}
	if l.user && errors.Is(err, unix.EACCES) {
		return
	}
	for _, path := range use.paths {
		if !l.missing(path, unix.ENOENT) {
			return // an open file of the tree will be it
		}
	}
	l.fault(use, 0, err, "")
}

// LinkLacks finds paths with a link where openat2 is refused: without it nobody can tell
// where a link leads for somebody else.
func LinkLacks(p *plan.Plan) (lacks []plan.Lack) {
	if !p.Host.OldOpen {
		return nil
	}
	o := safepath.New(true)
	seen := map[string]bool{}
	for use := range pathUses(p) {
		op, note := &use.prog.Ops[use.op], use.prog.Notes[use.op]
		path := use.paths[0]
		if op.Kind == program.OpFind {
			i, err := FirstProgram(o, len(use.paths), func(i int) string { return use.paths[i] })
			if err != nil {
				continue
			}
			path = use.paths[i]
		}
		link := safepath.FirstLink(path)
		key := fmt.Sprint(note.Line, note.Col, path)
		if link == "" || seen[key] {
			continue
		}
		seen[key] = true
		lacks = append(lacks, plan.Lack{Pos: tasktree.Pos{Line: int(note.Line), Col: int(note.Col)}, Msg: fmt.Sprintf(
			"%s: %q: a sandbox (a seccomp filter) refuses openat2, without which no path with a link can be opened safely, and %q is one; "+
				"allow openat2 there, or write the path without links", words.What(p, op, note), path, link)})
	}
	return lacks
}
