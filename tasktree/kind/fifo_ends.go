package kind

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// fifoList has ends by the way that they are opened.
type fifoList struct{ *Fifo }

func (l fifoList) Len() int { return len(l.Opens) }

func (l fifoList) Add() { l.Opens = append(l.Opens, FifoEnd{}) }

func (l fifoList) Item(i int, v schema.Fields) {
	end := &l.Opens[i]
	if v.Word("", &end.Access, fifoAccess, schema.Help{}); end.Name == "" {
		end.Name = end.Access.Value
	}
}

// one is a list of one end.
func (l fifoList) one(v schema.Fields) {
	var end tasktree.Text
	if len(l.Opens) > 0 {
		end = l.Opens[0].Access
	}
	if v.Word("", &end, fifoAccess, schema.Help{}); end.Said() {
		l.Opens = []FifoEnd{{Name: end.Value, Access: end}}
	}
}

// alone reports whether no end has a name of its own.
func (l fifoList) alone() bool {
	for _, end := range l.Opens {
		if end.Name != end.Access.Value {
			return false
		}
	}
	return true
}

// fifoMap has ends by name.
type fifoMap struct{ *Fifo }

func (m fifoMap) Len() int         { return len(m.Opens) }
func (m fifoMap) Key(i int) string { return m.Opens[i].Name }
func (fifoMap) Keys() string       { return endName }

func (m fifoMap) Add(key schema.Text, _ func(format string, args ...any)) bool {
	m.Opens = append(m.Opens, FifoEnd{Name: key.Value})
	return true
}

func (m fifoMap) Item(i int, v schema.Fields) {
	v.Word("", &m.Opens[i].Access, fifoAccess, schema.Help{})
}

// fifoFlags has flags by the name of an end.
type fifoFlags struct{ *Fifo }

func (m fifoFlags) Len() int         { return len(m.EndFlags) }
func (m fifoFlags) Key(i int) string { return m.EndFlags[i].Name }
func (fifoFlags) Keys() string       { return endName }

func (m fifoFlags) Add(key schema.Text, _ func(format string, args ...any)) bool {
	m.EndFlags = append(m.EndFlags, FifoFlags{Name: key.Value, Pos: key.Pos})
	return true
}

func (m fifoFlags) Item(i int, v schema.Fields) {
	v.Flags("", &m.EndFlags[i].Flags, pipeFlags, schema.Help{})
}

// endName is what the name of an end may be.
const endName = "^[A-Za-z0-9_][A-Za-z0-9_-]*$"

func isEndName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
	return name != "" && name[0] != '-' && strings.Trim(name, letters+"-") == ""
}

// Hint implements [Readable].
func (f *Fifo) Hint() string { return path.Base(strings.TrimSuffix(f.Path.Value, deleted)) }

// End implements [Readable]: each open file is an entry of its own.
func (*Fifo) End(LiveEnd) int { return 0 }

// Made implements [Readable].
func (f *Fifo) Made(t *tasktree.Tree) tasktree.Spec { return f.MadeEnd(t, 0, true) }

// MadeEnd implements [EndWise].
func (f *Fifo) MadeEnd(t *tasktree.Tree, end int, whole bool) tasktree.Spec {
	access := f.Opens[end].Access
	made := &Fifo{Opens: []FifoEnd{{Name: access.Value, Access: access}}, Owner: Owner{Any: true}}
	made.EndFlags = []FifoFlags{{Name: access.Value, Flags: madeFlags(f.flags(end))}}
	if !f.writer() && f.reads(end) {
		made.Hup = schema.Bool{Value: f.Hup.Value, Pos: f.Hup.Pos, Set: true}
	}
	if f.writes(end) {
		made.Packet = schema.Bool{Value: made.EndFlags[0].Flags.Bits&unix.O_DIRECT != 0, Pos: f.Packet.Pos, Set: true}
	}
	if !whole {
		return made
	}
	made.Path = tasktree.Text{Value: f.path(t), Pos: f.Path.Pos}
	if f.Unlinked.Value {
		made.Path.Value += deleted
	}
	made.Capacity, made.Content, made.Packets, made.Packet, made.Front, made.Owner, made.Mode = f.Capacity, f.Content, f.Packets, f.Packet, f.Front, f.Owner, f.Mode
	made.queue().made(made.EndFlags[0].Flags.Bits&unix.O_DIRECT != 0)
	if !f.writes(end) {
		made.Packet = schema.Bool{}
	}
	if !f.made() { // it was there before
		made.Mode = tasktree.Number{}
	} else if !f.Mode.Said() {
		made.Mode.Value = fifoMode
	}
	return made
}

// OfEnd implements [EndWise].
func (f *Fifo) OfEnd() tasktree.Spec {
	return &Fifo{Opens: f.Opens, EndFlags: f.EndFlags, Packet: f.Packet, Hup: f.Hup}
}

// Access implements [EndWise].
func (f *Fifo) Access(end int) (reads, writes bool) { return f.reads(end), f.writes(end) }

// Read implements [Readable].
func (f *Fifo) Read(l Live) []Unseen {
	e := l.Ends()[0]
	access := map[int]string{unix.O_RDONLY: "r", unix.O_WRONLY: "w", unix.O_RDWR: "rw"}[e.Flags()&unix.O_ACCMODE]
	f.Path = tasktree.Text{Value: e.Link(), Set: true}
	f.Opens = []FifoEnd{{Name: access, Access: tasktree.Text{Value: access, Set: true}}}
	f.EndFlags = []FifoFlags{{Name: access, Flags: visible(pipeFlags, e.Flags())}}
	if access != "r" {
		f.Packet = schema.Bool{Value: e.Flags()&unix.O_DIRECT != 0, Set: true}
	}
	f.queue().readFile(e)
	unseen := f.queue().readFrom(l, e, access != "w")
	if access != "r" || !l.Wants("hup") {
		return unseen
	}
	err := e.Copy(func(c LiveCopy) error {
		events, err := c.Poll()
		f.Hup = schema.Bool{Value: events&unix.POLLHUP != 0, Set: err == nil}
		return err
	})
	if err != nil {
		unseen = append(unseen, Unseen{Key: "hup", Why: err.Error()})
	}
	return unseen
}
