package kind

import (
	"fmt"
	"math"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// zeroDevices are devices that are at position 0 whatever lseek(2) is asked for.
var zeroDevices = []string{"/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"}

// regLinks is a list of paths.
type regLinks struct{ list *[]tasktree.Text }

func (l regLinks) Len() int { return len(*l.list) }

func (l regLinks) Add() { *l.list = append(*l.list, tasktree.Text{}) }

func (l regLinks) Item(i int, f schema.Fields) {
	f.Text("", &(*l.list)[i], schema.Help{Compare: schema.Ignore})
}

// pieces gives the content, which is a text or has pieces.
func (r *Reg) pieces() Pieces {
	if r.Content.Said() {
		return Pieces{{Data: r.Content}}
	}
	return r.Pieces
}

// fieldsOfContent binds the key content.
func (r *Reg) fieldsOfContent(f schema.Fields) {
	before := r.pieces()
	p := slices.Clone(before)
	p.fields(f, schema.Help{
		Compare: schema.Ignore, Doc: "what a file that is made holds: a text, or a mapping from offsets in bytes to texts with holes between; it is an error if the file is there already",
	})
	switch {
	case slices.Equal(p, before):
	case len(p) == 1 && p[0].Offset == 0:
		r.Content, r.Pieces = p[0].Data, nil
	default:
		r.Content, r.Pieces = tasktree.Text{}, p
	}
}

// detailed reports whether more is said of a file that is made than open(2) and its first
// bytes: it must not be there then.
func (r *Reg) detailed() bool {
	return len(r.Pieces) > 0 || r.Size.Said() || r.Owner.said() > 0 || r.Atime.Said() || r.Mtime.Said() || r.Unlinked.Value || len(r.Links) > 0
}

// fresh reports whether nobody else can have made the file.
func (r *Reg) fresh() bool {
	return r.has(unix.O_TMPFILE) || r.has(unix.O_CREAT|unix.O_EXCL) || r.makes() && (r.Content.Said() || r.detailed())
}

// folder reports whether a folder is made.
func (r *Reg) folder() bool {
	return r.Unlinked.Value && r.has(unix.O_DIRECTORY) && !r.has(unix.O_TMPFILE)
}

// madeReg is a file, as far as the restore makes it.
type madeReg struct{ *Reg }

// permissions are those of a file that is made.
func (r madeReg) permissions() tasktree.Number {
	mode := tasktree.Number{Value: defaultMode, Pos: r.Path.Pos, Set: true}
	switch {
	case r.Mode.Said():
		mode = r.Mode
	case r.folder():
		mode.Value = folderMode
	}
	return mode
}

// checkMade applies the rules of a file that is made.
func (r madeReg) checkMade(t *tasktree.Tree, report func(tasktree.Problem)) {
	bad := func(pos tasktree.Pos, path, format string, args ...any) {
		report(tasktree.Problem{Pos: pos, Path: path, Msg: fmt.Sprintf(format, args...)})
	}
	if !r.makes() {
		const cure = "%s is for a file that the restore makes; add O_CREAT to flags or unlinked: true, or write what must be there under expect"
		for _, v := range []struct {
			key  string
			said bool
			pos  tasktree.Pos
		}{
			{"content", len(r.Pieces) > 0, placeOf(r.Pieces)},
			{"size", r.Size.Said(), r.Size.Pos},
			{"owner", r.Owner.said() > 0, r.Owner.UID.Pos},
			{"atime", r.Atime.Said(), r.Atime.Pos},
			{"mtime", r.Mtime.Said(), r.Mtime.Pos},
			{"links", len(r.Links) > 0, placeOf(r.Links)},
		} {
			if v.said {
				bad(v.pos, v.key, cure, v.key)
			}
		}
		return
	}
	checkMoment(r.Atime, "atime", report)
	checkMoment(r.Mtime, "mtime", report)
	r.pieces().check(report)
	if end := r.pieces().end(); r.Size.Said() && r.Size.Value < end {
		bad(r.Size.Pos, "size", "the content ends at %d, behind the size of %d", end, r.Size.Value)
	}
	if r.has(unix.O_PATH) {
		bad(r.Unlinked.Pos, "unlinked", "O_PATH opens a place, and this file has none; drop O_PATH or unlinked")
	}
	if r.has(unix.O_TMPFILE) {
		if r.Unlinked.Value {
			bad(r.Unlinked.Pos, "unlinked", "a file of O_TMPFILE never had a path; drop unlinked")
		}
		if len(r.Links) > 0 {
			bad(r.Links[0].Pos, "links", "a file of O_TMPFILE has no path; drop links")
		}
	}
	if r.folder() && (len(r.pieces()) > 0 || r.Size.Said() || len(r.Links) > 0) {
		bad(r.Unlinked.Pos, "unlinked", "a folder has no content, no size and one path; drop these keys, or O_DIRECTORY")
	}
	if r.Unlinked.Value {
		r.checkTwice(t, bad)
	}
}

// placeOf gives the place of the first of several values.
func placeOf[T Piece | tasktree.Text](all []T) (pos tasktree.Pos) {
	if len(all) == 0 {
		return pos
	}
	switch first := any(all[0]).(type) {
	case Piece:
		return first.Data.Pos
	case tasktree.Text:
		return first.Pos
	}
	return pos
}

// checkTwice refuses a second unlinked file of one path: there would be two, where one
// with two open files is meant.
func (r madeReg) checkTwice(t *tasktree.Tree, bad func(pos tasktree.Pos, path, format string, args ...any)) {
	if n, f := t.Tally("unlinked " + path.Clean(r.path(t))); n > 1 {
		bad(r.Path.Pos, "path", "%q is unlinked as %q already, and would be another file; for another open file of that one write {type: reopen, file: %s}", r.Path.Value, f.Name, f.Name)
	}
}

// makeDetailed makes a file that must not be there, up to its paths. Who opens it again
// does so before its permissions are set, which may forbid that.
func (r madeReg) makeDetailed(t *tasktree.Tree, m recipe.Maker) recipe.Ref {
	m.At(r.Path.Pos)
	where := r.path(t)
	flags := r.Flags.Bits &^ (unix.O_CREAT | unix.O_TRUNC)
	at := []recipe.Arg{recipe.Int(unix.AT_FDCWD), recipe.Data(append([]byte(where), 0))}
	var f recipe.Ref
	if r.folder() {
		m.Call(recipe.Call{Name: "mkdirat", Nr: unix.SYS_MKDIRAT, Effect: recipe.Nothing, Args: append(at, recipe.Int(0o700))})
		m.Undo(where)
		f = m.Open(recipe.Open{Path: where, Flags: flags, Refuse: recipe.TypeFIFO | recipe.TypeSocket})
	} else {
		f = m.Open(recipe.Open{Path: where, Flags: flags, Refuse: recipe.TypeFIFO | recipe.TypeSocket, Create: true, Must: true, Mode: ownerMode})
		r.fill(m, f)
	}
	for _, link := range r.Links {
		m.At(link.Pos)
		to := t.Join(link.Value)
		m.Call(recipe.Call{
			Name: "linkat", Nr: unix.SYS_LINKAT, Effect: recipe.Nothing,
			Args:  append(slices.Clone(at), recipe.Int(unix.AT_FDCWD), recipe.Data(append([]byte(to), 0)), recipe.Int(0)),
			Hints: []recipe.Hint{{Errno: int(unix.EXDEV), Text: "all paths of a file are on one file system"}},
		})
		m.Undo(to)
	}
	if r.Unlinked.Value {
		m.At(r.Unlinked.Pos)
		removes := int64(0)
		if r.folder() {
			removes = unix.AT_REMOVEDIR
		}
		m.Call(recipe.Call{Name: "unlinkat", Nr: unix.SYS_UNLINKAT, Effect: recipe.Nothing, Args: append(slices.Clone(at), recipe.Int(removes))})
	}
	r.setPosition(m, f)
	return f
}

// fill gives the file its size and its content. An open file that cannot write at an
// offset gets one beside it that can.
func (r madeReg) fill(m recipe.Maker, f recipe.Ref) {
	all := r.pieces().sorted()
	if len(all) == 0 && r.Size.Value == 0 {
		return
	}
	w, own := f, r.writable() && r.Flags.Bits&(unix.O_APPEND|unix.O_DIRECT) == 0
	if !own {
		w = m.Reopen(recipe.Reopen{Of: f, Flags: unix.O_WRONLY})
	}
	if r.Size.Value > 0 {
		m.At(r.Size.Pos)
		m.Call(recipe.Call{
			Name: "ftruncate", Nr: unix.SYS_FTRUNCATE, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.FD(w), recipe.Int(r.Size.Value)},
			Hints: []recipe.Hint{{Errno: int(unix.EFBIG), Text: "it is over RLIMIT_FSIZE (ulimit -f), or too large for the file system"}},
		})
	}
	for _, piece := range all {
		m.At(piece.Data.Pos)
		n := int64(len(piece.Data.Value))
		m.Call(recipe.Call{
			Name: "pwrite64", Nr: unix.SYS_PWRITE64, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.FD(w), recipe.Data([]byte(piece.Data.Value)), recipe.Int(n), recipe.Int(piece.Offset)},
			Want: n, HasWant: true, Short: "the file took only a part of its content",
			Hints: []recipe.Hint{{Errno: int(unix.EFBIG), Text: "it is over RLIMIT_FSIZE (ulimit -f), or too large for the file system"}},
		})
	}
	if !own {
		m.Call(recipe.Call{Name: "close", Nr: unix.SYS_CLOSE, Effect: recipe.Closes, Args: []recipe.Arg{recipe.FD(w)}})
	}
}

// Shape implements [tasktree.Shaped]: the owner first, whose change takes permissions
// away, and times last, which all before may change.
func (r *Reg) Shape(_ *tasktree.Tree, m recipe.Maker) {
	if !r.detailed() || !r.makes() {
		return
	}
	r.Owner.set(m, m.Own(0))
	setMode(m, m.Own(0), madeReg{r}.permissions())
	setTimes(m, m.Own(0), r.Atime, r.Mtime)
}

// madeInode fills in what is read of the inode of a file that was made. Of one that may
// have been there nothing is known.
func (r madeReg) madeInode(made *Reg) {
	made.Content, made.Pieces, made.Links, made.Owner.Any = tasktree.Text{}, nil, nil, true
	made.Atime, made.Mtime = madeMoment(r.Atime), madeMoment(r.Mtime)
	made.Mode, made.Size = tasktree.Number{}, tasktree.Number{}
	if !r.fresh() {
		return
	}
	made.Mode = r.permissions()
	if !r.Mode.Said() {
		made.Mode.Pos = tasktree.Pos{}
	}
	if !r.folder() {
		made.Size = tasktree.Number{Value: max(r.Size.Value, r.pieces().end()), Pos: r.Size.Pos, Set: true}
	}
}

// inodeKeys are keys that a description has of a file that is made. A look which is not
// asked for them leaves them out: its description is of a file that is there.
var inodeKeys = []string{"mode", "size", "owner", "atime", "mtime"}

// OnlyMade reports whether a description has a key of a kind only of what is made.
func OnlyMade(kind, key string) bool { return kind == "reg" && slices.Contains(inodeKeys, key) }

// readInode reads what the kernel has of the inode, without asking a file's server.
func (r madeReg) readInode(l Live) {
	if !slices.ContainsFunc(inodeKeys, l.Wants) {
		return
	}
	stat := l.Ends()[0].Stat()
	number := func(n uint64) tasktree.Number {
		return tasktree.Number{Value: int64(min(n, math.MaxInt64)), Set: true}
	}
	at := func(t unix.StatxTimestamp) tasktree.Text {
		return tasktree.Text{Value: moment(time.Unix(t.Sec, int64(t.Nsec))), Set: true}
	}
	r.Owner, r.Mode = Owner{UID: number(uint64(stat.Uid)), GID: number(uint64(stat.Gid))}, number(uint64(stat.Mode&allModes))
	r.Size, r.Atime, r.Mtime = number(stat.Size), at(stat.Atime), at(stat.Mtime)
}
