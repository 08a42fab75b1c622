package kind

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// Expect is what must be true of a file that is there, or that is handed down. What is not
// said may be anything.
type Expect struct {
	At       tasktree.Pos // of all of it
	Type     tasktree.Text
	Flags    Flags // of a file that is handed down: all of these are set, and the access mode is equal
	Size     tasktree.Number
	Mode     tasktree.Number
	Owner    Owner
	Dev, Ino tasktree.Number
}

// expectTypes are the types of files, see inode(7).
var expectTypes = []string{"file", "folder", "symlink", "fifo", "socket", "char", "block"}

var expectBits = map[string]uint32{
	"file": unix.S_IFREG, "folder": unix.S_IFDIR, "symlink": unix.S_IFLNK, "fifo": unix.S_IFIFO, "socket": unix.S_IFSOCK, "char": unix.S_IFCHR, "block": unix.S_IFBLK,
}

// expectFields binds the key expect. flags: it is about an open file, which has some.
func (e *Expect) expectFields(f schema.Fields, flags bool) {
	const ignore = schema.Ignore
	doc := "what must be true of the file that is there, before anything is made: any of `kind` (`file`, `folder`, `symlink`, `fifo`, `socket`, `char`, `block`), `size`, `mode`, `owner`, `inode` (`[dev, ino]`)"
	if flags {
		doc = "what must be true of it, before anything is made: any of `kind` (`file`, `folder`, `symlink`, `fifo`, `socket`, `char`, `block`), `flags` (all of these set, and the access mode equal), `size`, `mode`, `owner`, `inode` (`[dev, ino]`)"
	}
	f.Group("expect", &e.At, func(f schema.Fields) {
		f.Word("kind", &e.Type, expectTypes, schema.Help{Compare: ignore})
		if flags {
			f.Flags("flags", &e.Flags, regFlags, schema.Help{Compare: ignore})
		}
		f.Int("size", &e.Size, schema.Int{Hi: maxOffset, Unit: "bytes", Sized: true, Help: schema.Help{Compare: ignore}})
		f.Mode("mode", &e.Mode, schema.Help{Compare: ignore})
		e.Owner.fields(f, "")
		f.List("inode", &inodeNumbers{Expect: e}, schema.Help{Most: 2, More: "an inode is [dev, ino]", Empty: "an inode is [dev, ino]"})
	}, schema.Help{Doc: doc, Default: "anything"})
}

// inodeNumbers is the list of a device and an inode number.
type inodeNumbers struct {
	*Expect

	n    int
	more tasktree.Number
}

// Len implements [schema.List].
func (l *inodeNumbers) Len() int {
	if l.n == 0 && l.Ino.Said() {
		return 2
	}
	return l.n
}

// Add implements [schema.List].
func (l *inodeNumbers) Add() { l.n++ }

// Item implements [schema.List].
func (l *inodeNumbers) Item(i int, f schema.Fields) {
	n := &l.more
	if i < 2 {
		n = []*tasktree.Number{&l.Dev, &l.Ino}[i]
	}
	f.Int("", n, schema.Int{Hi: maxOffset, Help: schema.Help{Compare: schema.Ignore}})
}

// Expects implements [tasktree.Expecting].
func (e *Expect) Expects() bool {
	return e.Type.Said() || e.Flags.Said() || e.Size.Said() || e.Mode.Said() || e.Owner.said() > 0 || e.Dev.Said()
}

// checkExpect refuses half of an inode, and what is said of a file that is made.
func (e *Expect) checkExpect(made bool, report func(tasktree.Problem)) {
	if made && e.Expects() {
		report(tasktree.Problem{Pos: e.At, Path: "expect", Msg: "expect is for a file that is there, and this one is made; drop expect, or what makes it"})
	}
	if e.Dev.Said() && !e.Ino.Said() {
		report(tasktree.Problem{Pos: e.Dev.Pos, Path: "expect.inode", Msg: "an inode is [dev, ino]"})
	}
}

// Unexpected implements [tasktree.Expecting].
func (e *Expect) Unexpected(is tasktree.Found) (all []tasktree.Problem) {
	differs := func(key string, pos tasktree.Pos, said bool, want, got any) {
		if said && want != got {
			all = append(all, tasktree.Problem{Pos: pos, Path: "expect." + key, Msg: fmt.Sprintf("expected %v, found %v", want, got)})
		}
	}
	is2 := "something else"
	for _, name := range expectTypes {
		if expectBits[name] == is.Mode&unix.S_IFMT {
			is2 = name
		}
	}
	differs("kind", e.Type.Pos, e.Type.Said(), e.Type.Value, is2)
	if has := is.Flags & (e.Flags.Bits | unix.O_ACCMODE); is.Open && e.Flags.Said() && has != e.Flags.Bits {
		differs("flags", e.Flags.Pos, true, schema.Shows(e.Flags.Bits, regFlags), schema.Shows(visible(regFlags, is.Flags).Bits, regFlags))
	}
	differs("size", e.Size.Pos, e.Size.Said(), e.Size.Value, is.Size)
	differs("mode", e.Mode.Pos, e.Mode.Said(), fmt.Sprintf("%#o", e.Mode.Value), fmt.Sprintf("%#o", is.Mode&allModes))
	differs("owner", e.Owner.UID.Pos, e.Owner.UID.Said(), e.Owner.UID.Value, int64(is.UID))
	differs("owner", e.Owner.GID.Pos, e.Owner.GID.Said(), e.Owner.GID.Value, int64(is.GID))
	want, got := [2]int64{e.Dev.Value, e.Ino.Value}, [2]int64{int64(is.Dev), int64(is.Ino)}
	differs("inode", e.Dev.Pos, e.Dev.Said(), want, got)
	return slices.Clip(all)
}
