package kind

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Fifo is a FIFO, see fifo(7): a pipe with a path, and any number of open files of it.
type Fifo struct {
	Path     tasktree.Text // relative ones start at the folder of the description
	Opens    []FifoEnd     // its ends, at least one
	Capacity tasktree.Number
	Content  tasktree.Text
	Packets  []tasktree.Text // in place of Content
	Packet   schema.Bool
	Front    tasktree.Number // key read
	Owner    Owner
	Mode     tasktree.Number // not said: 0644
	Unlinked schema.Bool     // it has no path any more
	Hup      schema.Bool     // readers have seen the last writer leave
	EndFlags []FifoFlags

	Expect // of one that is there
}

// FifoEnd is one open file of a FIFO.
type FifoEnd struct {
	Name   string
	Access tasktree.Text // r, w or rw
}

// FifoFlags are the flags of one end.
type FifoFlags struct {
	Name  string
	Flags Flags // O_APPEND, O_ASYNC, O_DIRECT, O_NOATIME, O_NONBLOCK
	Pos   tasktree.Pos
}

const fifoMode = defaultMode

// fifoAccess are the ways to open a FIFO.
var fifoAccess = []string{"r", "w", "rw"}

func init() {
	register(Kind{
		Name: "fifo",
		Also: []string{"mkfifo", "named pipe", "named_pipe", "namedpipe"},
		New:  func() tasktree.Spec { return &Fifo{} },
		Is: func(e LiveEnd) bool {
			return e.Mode()&unix.S_IFMT == unix.S_IFIFO && strings.HasPrefix(e.Link(), "/") && e.Flags()&unix.O_PATH == 0
		},
		Doc: "A FIFO, see fifo(7): a pipe with a path. Each of `ends` is an open file of its own; one that no task has is closed at release. " +
			"A FIFO of which `mode`, `owner`, `capacity`, `content`, `unlinked` or `hup` is said is made, and must not be there; any other one must be there, with nothing in it. " +
			"A reader that has seen the last writer leave gets POLLHUP from poll(2), one that never had a writer does not: where no end can write, `hup` says which.",
		Rights: "those that mkfifo(3) and open(2) ask for; an `owner` other than oneself, or a group that one is not in, needs CAP_CHOWN; `capacity` as with `pipe`.",
		Example: "way: {type: fifo, path: fifo, mode: 0640, ends: {in: r, out: w, both: rw}, content: abc, flags: {in: [O_NONBLOCK]}}\n" +
			"gone: {type: fifo, path: gone, ends: [r, w], unlinked: true, packet: true, content: [first, second]}\n",
	})
}

// queue gives what a pipe and a FIFO have in common.
func (f *Fifo) queue() queue {
	return queue{&f.Capacity, &f.Content, &f.Packets, &f.Packet, &f.Front, &f.Owner, &f.Mode}
}

// Fields implements [schema.Fielder].
func (f *Fifo) Fields(v schema.Fields) {
	v.Text("path", &f.Path, schema.Help{Required: true, Doc: "of the FIFO ([Paths](#paths))"})
	short := fifoList{f}
	v.Either("ends", schema.Either{
		Scalar: func(v schema.Fields) { short.one(v) },
		List: func(v schema.Fields) {
			v.List("", short, schema.Help{Empty: "say at least one end"})
		},
		Whole: func(v schema.Fields) {
			v.Map("", fifoMap{f}, schema.Help{Want: "a list of r, w, rw, or a mapping from names to these", Empty: "say at least one end"})
		},
		Alone: short.alone(),
		Help:  schema.Help{Required: true, Doc: "list of `r`, `w`, `rw`, or a mapping from any names to these: `{in: r, out: w}`"},
	})
	f.queue().fieldsOfContent(v)
	f.queue().fieldsOfFile(v, "`0644` if it is made")
	v.Bool("unlinked", &f.Unlinked, schema.Help{Compare: schema.Ignore, Doc: "`true`: its path is removed when all ends are open", Default: "`false`"})
	v.Bool("hup", &f.Hup, schema.Help{Moves: true, Doc: "`true`: there was a writer, and it has gone; where no end can write", Default: "`false`"})
	v.Map("flags", fifoFlags{f}, schema.Help{Want: "a mapping from ends to lists of flags", Doc: "by end: `{in: [...], out: [...]}` of `O_APPEND`, `O_ASYNC`, `O_DIRECT`, `O_NOATIME`, `O_NONBLOCK`", Default: "none"})
	f.expectFields(v, false)
}

// Kind implements [tasktree.Spec].
func (*Fifo) Kind() string { return "fifo" }

// Ends implements [tasktree.Spec].
func (f *Fifo) Ends() (names []string) {
	for _, end := range f.Opens {
		names = append(names, end.Name)
	}
	return names
}

// made reports whether the FIFO is made, and is not to be there.
func (f *Fifo) made() bool {
	return f.Mode.Said() || f.Owner.said() > 0 || f.Capacity.Said() || f.Content.Said() || len(f.Packets) > 0 || f.Front.Value > 0 || f.Unlinked.Value || f.Hup.Value
}

func (f *Fifo) reads(i int) bool  { return f.Opens[i].Access.Value != "w" }
func (f *Fifo) writes(i int) bool { return f.Opens[i].Access.Value != "r" }

// writer reports whether an end can write.
func (f *Fifo) writer() bool {
	for i := range f.Opens {
		if f.writes(i) {
			return true
		}
	}
	return false
}

// flags gives the flags of an end. Packet mode is O_DIRECT of those that write.
func (f *Fifo) flags(i int) Flags {
	var flags Flags
	for _, of := range f.EndFlags {
		if of.Name == f.Opens[i].Name {
			flags = of.Flags
		}
	}
	if f.Packet.Value && f.writes(i) {
		flags.Bits |= unix.O_DIRECT
	}
	return flags
}

func (f *Fifo) path(t *tasktree.Tree) string { return t.Join(f.Path.Value) }

// Check implements [tasktree.Spec].
func (f *Fifo) Check(t *tasktree.Tree, report func(tasktree.Problem)) {
	bad := func(pos tasktree.Pos, path, format string, args ...any) {
		report(tasktree.Problem{Pos: pos, Path: path, Msg: fmt.Sprintf(format, args...)})
	}
	if !checkPath(f.Path, f.path(t), report) {
		return
	}
	if len(f.Opens) == 0 {
		bad(tasktree.Pos{}, "ends", "a fifo needs at least one end: ends: [r, w]")
	}
	seen := map[string]bool{}
	for i, end := range f.Opens {
		at := fmt.Sprintf("ends[%d]", i)
		switch {
		case !slices.Contains(fifoAccess, end.Access.Value):
			bad(end.Access.Pos, at, "%q is no way to open a FIFO: expected r, w or rw", end.Access.Value)
		case seen[end.Name]:
			bad(end.Access.Pos, at, "there are two ends %q; give them names: {in: r, in2: r}", end.Name)
		case !isEndName(end.Name):
			bad(end.Access.Pos, at, "the end name %q can have letters, digits, _ and - only", end.Name)
		}
		seen[end.Name] = true
	}
	for _, of := range f.EndFlags {
		if !seen[of.Name] {
			bad(of.Pos, "flags."+of.Name, "there is no end %q%s", of.Name, tasktree.DidYouMean(of.Name, f.Ends()))
		}
	}
	if f.Hup.Value && f.writer() {
		bad(f.Hup.Pos, "hup", "an end can write, and a reader hangs up only when the last writer has gone; drop hup, or that end")
	}
	f.checkExpect(f.made(), report)
	f.queue().check("FIFO", report)
}

// Traits implements [tasktree.Spec].
func (f *Fifo) Traits(t *tasktree.Tree) tasktree.Traits {
	return tasktree.Traits{ByRunner: true, Path: f.path(t), Creates: f.made()}
}

// Host implements [tasktree.Needy].
func (f *Fifo) Host(*tasktree.Tree) []recipe.Need { return []recipe.Need{f.queue().need()} }

// Make implements [tasktree.Spec]. A reader of ours keeps what is written, and lets
// writers open; a writer of ours is gone before the ends are opened, unless readers are to
// have seen one leave:
//
//	mkfifo ─ reader ─ writer ─ fill ─ close writer ─ ends ─ (close writer: hup) ─ unlink ─ close reader
func (f *Fifo) Make(t *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	m.At(f.Path.Pos)
	where := f.path(t)
	if f.made() {
		m.Call(recipe.Call{
			Name: "mknodat", Nr: unix.SYS_MKNODAT, Effect: recipe.Nothing,
			Args:  []recipe.Arg{recipe.Int(unix.AT_FDCWD), recipe.Data(append([]byte(where), 0)), recipe.Int(unix.S_IFIFO | ownerMode), recipe.Int(0)},
			Hints: []recipe.Hint{{Errno: int(unix.EEXIST), Text: "mode, owner, capacity, content and unlinked are for a FIFO that the restore makes; leave them out to open the one that is there"}},
		})
		m.Undo(where)
	}
	reader := m.Open(recipe.Open{Path: where, Flags: unix.O_RDONLY | unix.O_NONBLOCK, Refuse: recipe.TypeNoFIFO})
	if !f.made() {
		f.refuseContent(m, reader)
	}
	open := func(access int) recipe.Ref {
		return m.Reopen(recipe.Reopen{Of: reader, Flags: access | unix.O_NONBLOCK})
	}
	closed := func(fd recipe.Ref) {
		m.Call(recipe.Call{Name: "close", Nr: unix.SYS_CLOSE, Effect: recipe.Closes, Args: []recipe.Arg{recipe.FD(fd)}})
	}
	var writer recipe.Ref
	if f.made() {
		writer = open(unix.O_WRONLY)
		f.fill(m, reader, writer)
		if !f.Hup.Value {
			closed(writer)
		}
	}
	refs := make([]recipe.Ref, len(f.Opens))
	for _, access := range fifoAccess { // a reader does not wait for a writer, but one that opens after it left has not seen it
		for i, end := range f.Opens {
			if end.Access.Value == access {
				m.At(end.Access.Pos)
				refs[i] = open(map[string]int{"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR}[access])
			}
		}
	}
	if f.Unlinked.Value {
		m.At(f.Unlinked.Pos)
		m.Call(recipe.Call{
			Name: "unlinkat", Nr: unix.SYS_UNLINKAT, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.Int(unix.AT_FDCWD), recipe.Data(append([]byte(where), 0)), recipe.Int(0)},
		})
	}
	if f.Hup.Value {
		closed(writer)
	}
	closed(reader)
	return refs
}

// ownerMode is what a file is made with, until it gets its permissions.
const ownerMode = 0o600

// refuseContent ends the restore where something waits in a FIFO that was there.
func (f *Fifo) refuseContent(m recipe.Maker, reader recipe.Ref) {
	events := binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, unix.POLLIN), 0)
	m.Call(recipe.Call{
		Name: "ppoll", Nr: unix.SYS_PPOLL, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.Struct(recipe.FD(reader), recipe.Data(events)), recipe.Int(1), recipe.Data(make([]byte, 16)), recipe.Int(0), recipe.Int(0)},
		Want: 0, HasWant: true, Short: "bytes wait in the FIFO that is there, which the tree would take from others; read them first, or describe another path",
	})
}

// fill sets the capacity and writes the content.
func (f *Fifo) fill(m recipe.Maker, reader, writer recipe.Ref) {
	f.queue().size(m, writer)
	if f.Packet.Value {
		m.At(f.Packet.Pos)
		m.Call(recipe.Call{ // open(2) refuses O_DIRECT
			Name: "fcntl(F_SETFL)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.FD(writer), recipe.Int(unix.F_SETFL), recipe.Int(unix.O_DIRECT | unix.O_NONBLOCK)},
		})
	}
	f.queue().fill(m, reader, writer)
}

// Shape implements [tasktree.Shaped].
func (f *Fifo) Shape(_ *tasktree.Tree, m recipe.Maker) {
	if f.made() {
		q, mode := f.queue(), f.Mode
		if !mode.Said() {
			mode = tasktree.Number{Value: fifoMode, Pos: f.Path.Pos}
		}
		q.owner.set(m, m.Own(0))
		setMode(m, m.Own(0), mode)
	}
	for i := range f.Opens {
		setFlags(m, m.Own(i), f.flags(i), unix.O_NONBLOCK)
	}
}
