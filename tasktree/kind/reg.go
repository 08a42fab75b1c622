package kind

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Reg is what open(2) makes of a path: a regular file, a directory, a device,
// or with O_PATH a mere place in the file system.
type Reg struct {
	Path    tasktree.Text   // relative ones start at the folder of the description
	Flags   Flags           // O_RDONLY if it names no access mode
	Mode    tasktree.Number // permissions of a file that is made; Pos zero: 0644, of a folder 0755
	Offset  tasktree.Number // position, bytes from the start
	Content tasktree.Text   // what a file that is made holds, if it is said

	// These are of a file that the restore makes and that is not there before.
	Pieces       Pieces          // in place of Content
	Size         tasktree.Number // bytes; not said: up to the end of what it holds
	Owner        Owner
	Atime, Mtime tasktree.Text
	Unlinked     schema.Bool     // it has no path any more
	Links        []tasktree.Text // other paths that it has

	Expect // of a file that is there
}

const (
	refuseCloexec = "close-on-exec belongs to the descriptor: write {file: NAME, cloexec: true} under fds"
	defaultMode   = 0o644
	folderMode    = 0o755
)

// regFlags are the flags of open(2) that an open file description keeps or
// that decide how it comes to be.
var regFlags = []Flag{
	{Name: "O_RDONLY", Bits: unix.O_RDONLY},
	{Name: "O_WRONLY", Bits: unix.O_WRONLY},
	{Name: "O_RDWR", Bits: unix.O_RDWR},
	{Name: "O_APPEND", Bits: unix.O_APPEND},
	{Name: "O_ASYNC", Bits: unix.O_ASYNC},
	{Name: "O_CREAT", Bits: unix.O_CREAT},
	{Name: "O_DIRECT", Bits: unix.O_DIRECT},
	{Name: "O_DIRECTORY", Bits: unix.O_DIRECTORY},
	{Name: "O_DSYNC", Bits: unix.O_DSYNC},
	{Name: "O_EXCL", Bits: unix.O_EXCL},
	{Name: "O_LARGEFILE", Bits: unix.O_LARGEFILE},
	{Name: "O_NOATIME", Bits: unix.O_NOATIME},
	{Name: "O_NOCTTY", Bits: unix.O_NOCTTY},
	{Name: "O_NOFOLLOW", Bits: unix.O_NOFOLLOW},
	{Name: "O_NONBLOCK", Bits: unix.O_NONBLOCK},
	{Name: "O_NDELAY", Bits: unix.O_NONBLOCK},
	{Name: "O_PATH", Bits: unix.O_PATH},
	{Name: "O_SYNC", Bits: unix.O_SYNC},
	{Name: "O_TMPFILE", Bits: unix.O_TMPFILE},
	{Name: "O_TRUNC", Bits: unix.O_TRUNC},
	{Name: "O_CLOEXEC", Refuse: refuseCloexec},
}

func init() {
	register(Kind{
		Name: "reg",
		Also: []string{"file", "regular", "dir", "directory", "folder", "dev", "device", "path"},
		New:  func() tasktree.Spec { return &Reg{} },
		Is:   isReg,
		Doc: "What open(2) makes of a path: a regular file, a folder, a device, or with `O_PATH` a mere place in the file system. " +
			"`size`, `owner`, `atime`, `mtime`, `links` and a `content` with holes are of a file that is made, by `O_CREAT` or `unlinked`: with any of them it must not be there. " +
			"Its content cannot be compared with a live one, since its server may be silent; its size, its times and the rest are. " +
			"More about its flags: [the description](description.md#reg-regular-files-directories-devices-places).",
		Rights: "those that open(2) asks for; `O_NOATIME` is for the owner of the file, and with CAP_FOWNER. An `owner` other than oneself, or a group that one is not in, needs CAP_CHOWN.",
		Example: "log: {type: reg, path: app.log, flags: [O_RDWR, O_APPEND, O_CREAT], mode: 0640, content: \"line 1\\n\"}\n" +
			"gone: {type: reg, path: gone, flags: [O_RDWR], unlinked: true, size: 64KiB, content: {0: hello, 65532: tail}, mode: 0600, mtime: 2026-01-31T12:00:00Z}\n" +
			"tmp: {type: reg, path: ., flags: [O_RDWR, O_TMPFILE], mode: 0640, content: hello}\n",
	})
}

// Fields implements [schema.Fielder].
func (r *Reg) Fields(f schema.Fields) {
	f.Text("path", &r.Path, schema.Help{
		Required: true, Doc: "any path but that of a FIFO or a socket, and one that would mean another process ([Paths](#paths))",
	})
	f.Flags("flags", &r.Flags, regFlags, schema.Help{Doc: "list of the O_ names of open(2), the access mode among them", Default: "`[O_RDONLY]`"})
	f.Mode("mode", &r.Mode, schema.Help{
		Doc: "octal with a leading `0` or `0o`, or in quotes: permissions of a file that is made, exactly (no umask)", Default: "`0644`, of a folder `0755`",
	})
	f.Int("offset", &r.Offset, schema.Int{Hi: math.MaxInt64, Unit: "bytes", Help: schema.Help{Moves: true, Doc: "bytes from the start", Default: "0"}})
	r.fieldsOfContent(f)
	f.Int("size", &r.Size, schema.Int{Hi: maxOffset, Unit: "bytes", Sized: true, Help: schema.Help{
		Moves: true, Doc: "of a file that is made: bytes, or such as `64KiB`; what `content` leaves is a hole", Default: "up to the end of `content`",
	}})
	r.Owner.fields(f, "of a file that is made: a user, or `[user, group]`, by number")
	f.Text("atime", &r.Atime, schema.Help{Moves: true, Doc: "of a file that is made: when it was last read, `2026-01-31T12:00:00Z`, or seconds since 1970, with a fraction", Default: "the moment of the restore"})
	f.Text("mtime", &r.Mtime, schema.Help{Moves: true, Doc: "of a file that is made: when it was last written", Default: "the moment of the restore"})
	f.Bool("unlinked", &r.Unlinked, schema.Help{
		Compare: schema.Ignore, Doc: "`true`: the file, or with `O_DIRECTORY` the folder, is made, and its path removed when it is open", Default: "`false`",
	})
	f.List("links", regLinks{&r.Links}, schema.Help{Doc: "other paths of a file that is made", Default: "none"})
	r.expectFields(f, false)
}

// Kind implements [tasktree.Spec].
func (*Reg) Kind() string { return "reg" }

// Ends implements [tasktree.Spec].
func (*Reg) Ends() []string { return nil }

func (r *Reg) has(bits int) bool { return r.Flags.Bits&bits == bits }

// makes reports whether opening brings a file into being.
func (r *Reg) makes() bool {
	return r.has(unix.O_CREAT) || r.has(unix.O_TMPFILE) || r.Unlinked.Value
}

func (r *Reg) writable() bool { return r.Flags.Bits&unix.O_ACCMODE != unix.O_RDONLY }

// Check implements [tasktree.Spec].
func (r *Reg) Check(t *tasktree.Tree, report func(tasktree.Problem)) {
	if !checkPath(r.Path, r.path(t), report) {
		return
	}
	if r.Offset.Value < 0 {
		report(tasktree.Problem{Pos: r.Offset.Pos, Path: "offset", Msg: fmt.Sprintf("offset %d is before the start of the file", r.Offset.Value)})
	}
	r.checkFlags(report)
	if r.Content.Said() && !r.makes() {
		report(tasktree.Problem{Pos: r.Content.Pos, Path: "content", Msg: "content fills a file that the restore makes; add O_CREAT to flags, or drop content"})
	}
	madeReg{r}.checkMade(t, report)
	r.checkExpect(r.fresh(), report)
	if slices.Contains(zeroDevices, r.path(t)) && r.Offset.Value != 0 {
		report(tasktree.Problem{Pos: r.Offset.Pos, Path: "offset", Msg: fmt.Sprintf("the position of %s is always 0; drop offset", r.path(t))})
	}
	if r.Offset.Value != 0 && r.has(unix.O_PATH) {
		report(tasktree.Problem{Pos: r.Offset.Pos, Path: "offset", Msg: "a file opened with O_PATH has no offset"})
	}
}

// checkPath applies the rules of a path, which is opened as full. It reports whether more
// can be said of the entry.
func checkPath(p tasktree.Text, full string, report func(tasktree.Problem)) bool {
	bad := func(format string, args ...any) {
		report(tasktree.Problem{Pos: p.Pos, Path: "path", Msg: fmt.Sprintf(format, args...)})
	}
	n := len(p.Value)
	switch {
	case n > tasktree.MaxPath:
		bad("the path has %d bytes; the kernel takes at most %d", n, tasktree.MaxPath)
		return false
	case n == 0:
		bad("the path is empty")
	default:
		if why := tasktree.AnotherProcess(full); why != "" {
			bad("%q %s", p.Value, why)
		}
	}
	if strings.ContainsRune(p.Value, 0) {
		bad("a NUL byte cannot be part of a path")
	}
	return true
}

func (r *Reg) checkFlags(report func(tasktree.Problem)) {
	access := ""
	for i, item := range r.Flags.Items {
		bad := func(format string, args ...any) {
			report(tasktree.Problem{Pos: item.Pos, Path: fmt.Sprintf("flags[%d]", i), Msg: fmt.Sprintf(format, args...)})
		}
		switch name := item.Flag.Name; name {
		case "O_RDONLY", "O_WRONLY", "O_RDWR":
			if access != "" && access != name {
				bad("%s and %s exclude each other; a file has one access mode", name, access)
			}
			access = name
		case "O_TRUNC":
			if !r.writable() {
				bad("O_TRUNC needs O_WRONLY or O_RDWR")
			}
		case "O_EXCL":
			if !r.makes() {
				bad("O_EXCL needs O_CREAT")
			}
		case "O_TMPFILE":
			if !r.writable() {
				bad("O_TMPFILE needs O_WRONLY or O_RDWR")
			}
			if r.has(unix.O_CREAT) {
				bad("O_TMPFILE makes a file without a name; drop O_CREAT")
			}
		case "O_CREAT":
			if r.Flags.Has("O_DIRECTORY") {
				bad("O_CREAT makes no directory; drop O_CREAT or O_DIRECTORY")
			}
		case "O_PATH":
			const together = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW
			if r.Flags.Bits&^together != 0 {
				bad("O_PATH combines only with O_DIRECTORY and O_NOFOLLOW")
			}
		}
	}
}

// Warn implements [tasktree.Warner].
func (r *Reg) Warn(_ *tasktree.Tree, report func(tasktree.Problem)) {
	if r.Mode.Pos.IsValid() && !r.makes() {
		report(tasktree.Problem{Pos: r.Mode.Pos, Path: "mode", Msg: "mode has no effect without O_CREAT"})
	}
}

// LookFlags are the flags that count when its path is looked at.
func (r *Reg) LookFlags() int { return r.Flags.Bits & unix.O_NOFOLLOW }

// path gives the path as the restoring process opens it.
func (r *Reg) path(t *tasktree.Tree) string { return t.Join(r.Path.Value) }

// Traits implements [tasktree.Spec].
func (r *Reg) Traits(t *tasktree.Tree) tasktree.Traits {
	return tasktree.Traits{
		ByRunner: r.makes() || r.has(unix.O_TRUNC),
		Path:     r.path(t),
		Creates:  r.has(unix.O_CREAT) || r.Unlinked.Value,
		Writes:   r.writable() && !r.has(unix.O_PATH),
	}
}

// Make implements [tasktree.Spec].
func (r *Reg) Make(t *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	if r.detailed() {
		return []recipe.Ref{madeReg{r}.makeDetailed(t, m)}
	}
	mode := uint32(defaultMode)
	if r.Mode.Said() {
		mode = uint32(r.Mode.Value)
	}
	must, fresh := r.has(unix.O_EXCL) || r.Content.Said(), r.fresh()
	flags := r.Flags.Bits &^ (unix.O_CREAT | unix.O_TRUNC)
	m.At(r.Path.Pos)
	f := m.Open(recipe.Open{
		Path: r.path(t), Flags: flags, Refuse: recipe.TypeFIFO | recipe.TypeSocket,
		Create: r.makes(), Must: must, Mode: mode, Content: []byte(r.Content.Value),
		Truncate: r.has(unix.O_TRUNC) && !fresh, TruncatePos: r.Flags.Pos,
	})
	if r.has(unix.O_PATH) {
		return []recipe.Ref{f}
	}
	madeReg{r}.setPosition(m, f)
	return []recipe.Ref{f}
}

// Reopens implements [reopened]: some devices give another thing each time.
func (r *Reg) Reopens(t *tasktree.Tree) string {
	switch r.path(t) {
	case "/dev/ptmx", "/dev/pts/ptmx", "/dev/net/tun":
		return "is another one each time it is opened; name the same entry in both tasks instead"
	}
	return ""
}

// Anonymous implements [reopened].
func (*Reg) Anonymous() bool { return false }

// setPosition gives an open file what open(2) does not.
func (r madeReg) setPosition(m recipe.Maker, f recipe.Ref) {
	if r.has(unix.O_ASYNC) { // open(2) ignores it
		setFlags(m, f, r.Flags, 0)
	}
	setOffset(m, f, r.Offset)
}

// isReg reports whether open(2) has made an open file of a path. Memory files have
// links that look like paths, and no path.
func isReg(e LiveEnd) bool {
	switch e.Mode() & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFLNK:
		_, memory := e.Memory()
		return strings.HasPrefix(e.Link(), "/") && !memory
	default: // a FIFO or a socket has only a place, with O_PATH, which is refused
		return false
	}
}

// deleted ends the link of a file that has no name any more, see proc_pid_fd(5).
const deleted = " (deleted)"

// End implements [Readable].
func (*Reg) End(LiveEnd) int { return 0 }

// Hint implements [Readable].
func (r *Reg) Hint() string { return path.Base(strings.TrimSuffix(r.Path.Value, deleted)) }

// Made implements [Readable]. A file that O_APPEND writes to has any offset.
func (r *Reg) Made(t *tasktree.Tree) tasktree.Spec {
	made := *r
	made.Path.Value = r.path(t)
	if r.Unlinked.Value {
		made.Path.Value += deleted
	}
	const once = unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC // open(2) forgets them
	made.Flags = Flags{Bits: r.Flags.Bits &^ once, Pos: r.Flags.Pos, Set: true}
	made.Offset.Set = !r.has(unix.O_APPEND)
	madeReg{r}.madeInode(&made)
	made.Expect = Expect{}
	return &made
}

// Read implements [Readable]. It asks for nothing but what is free: a copy of a file
// whose server is silent could never be closed.
func (r *Reg) Read(l Live) []Unseen {
	e := l.Ends()[0]
	r.Flags = visible(regFlags, e.Flags())
	r.Path = tasktree.Text{Value: e.Link(), Set: true}
	if r.has(unix.O_TMPFILE) { // its path is the folder that it was made in
		r.Path.Value = path.Dir(e.Link())
	}
	r.Offset = tasktree.Number{Value: e.Offset(), Set: true}
	madeReg{r}.readInode(l)
	return nil
}
