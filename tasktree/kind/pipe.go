package kind

import (
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Pipe is a pipe, see pipe(7): two open files, the read end r and the write end
// w, with what has been written and not yet read.
type Pipe struct {
	Capacity tasktree.Number // bytes; Value 0: what the kernel gives, usually 65536
	Content  tasktree.Text   // bytes that wait in the pipe
	Packets  []tasktree.Text // in place of Content: packets that wait in it
	Packet   schema.Bool     // packet mode: w has O_DIRECT, and what waits are packets
	Front    tasktree.Number // key read: bytes that stood before the content and were read
	Owner    Owner           // of the inode, which both ends have
	Mode     tasktree.Number // permissions of the inode; not said: 0600
	ReadEnd  Flags           // O_APPEND, O_ASYNC, O_DIRECT, O_NOATIME, O_NONBLOCK
	WriteEnd Flags
	FlagsPos tasktree.Pos // of the flags of both
}

var pipeEnds = []string{"r", "w"}

func init() {
	register(Kind{
		Name: "pipe",
		Also: []string{"pipe2"},
		New:  func() tasktree.Spec { return &Pipe{} },
		Is:   func(e LiveEnd) bool { return strings.HasPrefix(e.Link(), "pipe:[") },
		Doc: "A pipe, see pipe(7): two open files, the read end `r` and the write end `w`, with what was written and not yet read. " +
			"Each end is closed where no task has it. `packet: true` is O_DIRECT of `w` before anything is written; O_DIRECT among the flags of `w` comes after `content`, whose bytes are no packets then.",
		Rights: "a `capacity` beyond fs.pipe-max-size needs CAP_SYS_RESOURCE; beyond fs.pipe-user-pages-soft, which counts all pipes of a user, CAP_SYS_RESOURCE or CAP_SYS_ADMIN. " +
			"An `owner` other than oneself, or a group that one is not in, needs CAP_CHOWN.",
		Example: "jobs: {type: pipe, capacity: 64KiB, content: \"job 1\\n\", mode: 0640, flags: {r: [O_NONBLOCK]}}\n" +
			"packets: {type: pipe, packet: true, content: [first, second], capacity: 8KiB}\n" +
			"full: {type: pipe, capacity: 4096, content: x, read: 4095}\n",
	})
}

// queue gives what a pipe and a FIFO have in common.
func (p *Pipe) queue() queue {
	return queue{&p.Capacity, &p.Content, &p.Packets, &p.Packet, &p.Front, &p.Owner, &p.Mode}
}

// Fields implements [schema.Fielder].
func (p *Pipe) Fields(f schema.Fields) {
	p.queue().fieldsOfContent(f)
	p.queue().fieldsOfFile(f, "`0600`")
	f.Group("flags", &p.FlagsPos, func(f schema.Fields) {
		f.Flags("r", &p.ReadEnd, pipeFlags, schema.Help{})
		f.Flags("w", &p.WriteEnd, pipeFlags, schema.Help{})
	}, schema.Help{
		Want:    "a mapping from ends (r, w) to lists of flags",
		Doc:     "by end: `{r: [...], w: [...]}` of `O_APPEND`, `O_ASYNC`, `O_DIRECT`, `O_NOATIME`, `O_NONBLOCK`",
		Default: "none",
	})
}

// Kind implements [tasktree.Spec].
func (*Pipe) Kind() string { return "pipe" }

// Ends implements [tasktree.Spec].
func (*Pipe) Ends() []string { return pipeEnds }

// Check implements [tasktree.Spec].
func (p *Pipe) Check(_ *tasktree.Tree, report func(tasktree.Problem)) {
	p.queue().check("pipe", report)
}

// Traits implements [tasktree.Spec].
func (*Pipe) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{} }

// Host implements [tasktree.Needy].
func (p *Pipe) Host(*tasktree.Tree) []recipe.Need { return []recipe.Need{p.queue().need()} }

// first are the flags that the ends get when the pipe is made: pipe2(2) gives O_DIRECT to
// the write end alone.
func (p *Pipe) first() (r, w int) {
	r = p.ReadEnd.Bits & p.WriteEnd.Bits & unix.O_NONBLOCK
	if len(p.queue().waiting()) == 0 {
		return r, r | p.WriteEnd.Bits&unix.O_DIRECT | p.packetMode()
	}
	r = unix.O_NONBLOCK // a full pipe must be an error, not a hang
	return r, r | p.packetMode()
}

// packetMode is the flag of the write end for packets.
func (p *Pipe) packetMode() int {
	if p.Packet.Value {
		return unix.O_DIRECT
	}
	return 0
}

// last are the flags that the ends have in the end.
func (p *Pipe) last() (r, w Flags) {
	r, w = p.ReadEnd, p.WriteEnd
	w.Bits |= p.packetMode()
	return r, w
}

// Make implements [tasktree.Spec].
//
// The ends get one set of flags from pipe2; where that is not what both want,
// or where content must not block, Shape puts it right.
func (p *Pipe) Make(_ *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	_, flags := p.first()
	r, w := m.Pair(recipe.Call{
		Name: "pipe2", Nr: unix.SYS_PIPE2,
		Args: []recipe.Arg{recipe.PairAt(), recipe.Int(int64(flags | unix.O_CLOEXEC))},
		Hints: []recipe.Hint{
			{Errno: int(unix.ENFILE), Text: "all pipes of the user are over fs.pipe-user-pages-hard, or the system's open files over fs.file-max"},
		},
	})
	p.queue().size(m, w)
	return []recipe.Ref{r, w}
}

// Fill implements [tasktree.Filled].
func (p *Pipe) Fill(_ *tasktree.Tree, m recipe.Maker) { p.queue().fill(m, m.Own(0), m.Own(1)) }

// Shape implements [tasktree.Shaped].
func (p *Pipe) Shape(_ *tasktree.Tree, m recipe.Maker) {
	p.queue().shapeFile(m, m.Own(1))
	hasR, hasW := p.first()
	r, w := p.last()
	for i, end := range []Flags{r, w} {
		if !end.Pos.IsValid() {
			end.Pos = p.FlagsPos
		}
		if i == 0 {
			setFlags(m, m.Own(0), end, hasR)
		} else {
			setFlags(m, m.Own(1), end, hasW)
		}
	}
}

// Reopens implements [reopened].
func (*Pipe) Reopens(*tasktree.Tree) string { return "" }

// Anonymous implements [reopened].
func (*Pipe) Anonymous() bool { return true }

// End implements [Readable].
func (*Pipe) End(e LiveEnd) int {
	if e.Flags()&unix.O_ACCMODE == unix.O_WRONLY {
		return 1
	}
	return 0
}

// Hint implements [Readable].
func (*Pipe) Hint() string { return "pipe" }

// Made implements [Readable].
func (p *Pipe) Made(*tasktree.Tree) tasktree.Spec {
	made := *p
	made.ReadEnd, made.WriteEnd = p.last()
	made.queue().made(made.WriteEnd.Bits&unix.O_DIRECT != 0)
	for _, end := range []*Flags{&made.ReadEnd, &made.WriteEnd} {
		if !end.Pos.IsValid() {
			end.Pos = p.FlagsPos
		}
		*end = madeFlags(*end)
	}
	return &made
}

// Read implements [Readable]. Of an end that the tree does not have nothing is said.
func (p *Pipe) Read(l Live) []Unseen {
	ends := l.Ends()
	first := ends[0]
	for _, e := range ends {
		if p.End(e) == 0 {
			p.ReadEnd = visible(pipeFlags, e.Flags())
			first = e // a content can only be read from here
			continue
		}
		p.WriteEnd = visible(pipeFlags, e.Flags())
		p.Packet = schema.Bool{Value: e.Flags()&unix.O_DIRECT != 0, Set: true}
	}
	p.queue().readFile(first)
	unseen := p.queue().readFrom(l, first, p.End(first) == 0)
	if len(p.Packets) > 0 && len(ends) == 1 { // the write end is closed, or somebody else's
		p.Packet = schema.Bool{Value: true, Set: true}
	}
	return unseen
}
