package kind

import (
	"fmt"
	"math/bits"
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
	ReadEnd  Flags           // O_NONBLOCK, O_DIRECT, O_NOATIME, O_ASYNC
	WriteEnd Flags
	FlagsPos tasktree.Pos // of the flags of both
}

// maxPipe is the largest capacity that F_SETPIPE_SZ takes, see fs/pipe.c,
// round_pipe_size.
const maxPipe = 1 << 31

// defaultPipe is the capacity of a new pipe, in bytes, for a user who is below
// fs.pipe-user-pages-soft. See pipe(7).
const defaultPipe = 16 * 4096

var pipeEnds = []string{"r", "w"}

var pipeFlags = []Flag{
	{Name: "O_NONBLOCK", Bits: unix.O_NONBLOCK},
	{Name: "O_DIRECT", Bits: unix.O_DIRECT},
	{Name: "O_NOATIME", Bits: unix.O_NOATIME},
	{Name: "O_ASYNC", Bits: unix.O_ASYNC},
	{Name: "O_CLOEXEC", Refuse: refuseCloexec},
}

func init() {
	register(Kind{
		Name: "pipe",
		Also: []string{"pipe2", "fifo"},
		New:  func() tasktree.Spec { return &Pipe{} },
		Is:   func(e LiveEnd) bool { return strings.HasPrefix(e.Link(), "pipe:[") },
		Doc: "A pipe, see pipe(7): two open files, the read end `r` and the write end `w`, with what was written and not yet read. " +
			"Each end is closed where no task has it.",
		Rights:  "a `capacity` beyond fs.pipe-max-size needs CAP_SYS_RESOURCE; beyond fs.pipe-user-pages-soft, which counts all pipes of a user, CAP_SYS_RESOURCE or CAP_SYS_ADMIN.",
		Example: "jobs: {type: pipe, capacity: 65536, content: \"job 1\\n\", flags: {r: [O_NONBLOCK]}}\n",
	})
}

// Fields implements [schema.Fielder].
func (p *Pipe) Fields(f schema.Fields) {
	f.Int("capacity", &p.Capacity, schema.Int{Lo: 1, Hi: maxPipe, Unit: "bytes", Help: schema.Help{
		Compare: schema.AtLeast, Doc: "bytes, rounded up as the kernel does (a power of two pages)", Default: "the kernel's, usually 65536",
	}})
	f.Bytes("content", &p.Content, schema.Help{Moves: true, Doc: "bytes that wait in the pipe, at most its capacity", Default: "none"})
	f.Group("flags", &p.FlagsPos, func(f schema.Fields) {
		f.Flags("r", &p.ReadEnd, pipeFlags, schema.Help{})
		f.Flags("w", &p.WriteEnd, pipeFlags, schema.Help{})
	}, schema.Help{
		Want:    "a mapping from ends (r, w) to lists of flags",
		Doc:     "by end: `{r: [...], w: [...]}` of `O_NONBLOCK`, `O_DIRECT`, `O_NOATIME`, `O_ASYNC`",
		Default: "none",
	})
}

// Kind implements [tasktree.Spec].
func (*Pipe) Kind() string { return "pipe" }

// Ends implements [tasktree.Spec].
func (*Pipe) Ends() []string { return pipeEnds }

// Check implements [tasktree.Spec].
func (p *Pipe) Check(_ *tasktree.Tree, report func(tasktree.Problem)) {
	capacity, said := int64(defaultPipe), "the usual one, say capacity for a larger one"
	if p.Capacity.Value > 0 {
		capacity, said = roundPipe(p.Capacity.Value), fmt.Sprintf("%d rounded up", p.Capacity.Value)
	}
	if n := int64(len(p.Content.Value)); n > capacity {
		report(tasktree.Problem{
			Pos: p.Content.Pos, Path: "content",
			Msg: fmt.Sprintf("%d bytes do not fit into the pipe's capacity of %d (%s)", n, capacity, said),
		})
	}
}

// Traits implements [tasktree.Spec].
func (*Pipe) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{} }

// Host implements [tasktree.Needy].
func (p *Pipe) Host(*tasktree.Tree) []recipe.Need {
	if p.Capacity.Value > 0 {
		return []recipe.Need{{What: recipe.PipePages, N: roundPipe(p.Capacity.Value), Pos: p.Capacity.Pos}}
	}
	return []recipe.Need{{What: recipe.PipePages, N: newPipe()}}
}

// newPipe is the capacity of a new pipe in bytes (PIPE_DEF_BUFFERS in
// include/linux/pipe_fs_i.h), for a user who is below fs.pipe-user-pages-soft.
func newPipe() int64 { return 16 * int64(unix.Getpagesize()) }

// first are the flags that both ends get when the pipe is made.
func (p *Pipe) first() int {
	first := p.ReadEnd.Bits & p.WriteEnd.Bits & (unix.O_NONBLOCK | unix.O_DIRECT)
	if p.Content.Value != "" {
		first |= unix.O_NONBLOCK // a full pipe must be an error, not a hang
	}
	return first
}

// Make implements [tasktree.Spec].
//
// The ends get one set of flags from pipe2; where that is not what both want,
// or where content must not block, Shape puts it right.
func (p *Pipe) Make(_ *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	r, w := m.Pair(recipe.Call{
		Name: "pipe2", Nr: unix.SYS_PIPE2,
		Args: []recipe.Arg{recipe.PairAt(), recipe.Int(int64(p.first() | unix.O_CLOEXEC))},
		Hints: []recipe.Hint{
			{Errno: int(unix.ENFILE), Text: "all pipes of the user are over fs.pipe-user-pages-hard, or the system's open files over fs.file-max"},
		},
	})
	if p.Capacity.Value == 0 {
		// The kernel makes it smaller without a word where the user has too many.
		m.Call(recipe.Call{
			Name: "fcntl(F_GETPIPE_SZ)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing, When: recipe.PipesLimited,
			Args: []recipe.Arg{recipe.FD(w), recipe.Int(unix.F_GETPIPE_SZ)},
			Want: newPipe(), HasWant: true, Short: "the pipe is smaller than usual, since all pipes of the user are over fs.pipe-user-pages-soft; " +
				"raise that, end programs that hold pipes, or write the capacity that will do",
		})
	}
	if p.Capacity.Value > 0 {
		m.At(p.Capacity.Pos)
		size := roundPipe(p.Capacity.Value)
		limits := fmt.Sprintf("%d bytes are over fs.pipe-max-size, or the user's pipes over fs.pipe-user-pages-soft; both bind without CAP_SYS_RESOURCE", size)
		m.Call(recipe.Call{
			Name: "fcntl(F_SETPIPE_SZ)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.FD(w), recipe.Int(unix.F_SETPIPE_SZ), recipe.Int(size)},
			Hints: []recipe.Hint{
				{Errno: int(unix.EPERM), Text: limits},
				{Errno: int(unix.ENOMEM), Text: fmt.Sprintf("the kernel has no memory for %d bytes; CAP_SYS_RESOURCE alone lifts fs.pipe-max-size", size)},
			},
		})
	}
	return []recipe.Ref{r, w}
}

// Fill implements [tasktree.Filled].
func (p *Pipe) Fill(_ *tasktree.Tree, m recipe.Maker) {
	if p.Content.Value == "" {
		return
	}
	m.At(p.Content.Pos)
	n := int64(len(p.Content.Value))
	m.Call(recipe.Call{
		Name: "write", Nr: unix.SYS_WRITE, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.FD(m.Own(1)), recipe.Data([]byte(p.Content.Value)), recipe.Int(n)},
		Want: n, HasWant: true, Short: "the pipe took only a part of its content: it is smaller than usual, since the user is over fs.pipe-user-pages-soft",
		Hints: []recipe.Hint{{Errno: int(unix.EAGAIN), Text: "the pipe is smaller than usual: the user is over fs.pipe-user-pages-soft"}},
	})
}

// Shape implements [tasktree.Shaped].
func (p *Pipe) Shape(_ *tasktree.Tree, m recipe.Maker) {
	const settable = unix.O_NONBLOCK | unix.O_DIRECT | unix.O_NOATIME | unix.O_ASYNC
	for i, end := range []Flags{p.ReadEnd, p.WriteEnd} {
		got := p.first()
		if i == 0 {
			got &^= unix.O_DIRECT // pipe2(2) gives it to the write end alone
		}
		if end.Bits&settable == got {
			continue
		}
		if !end.Pos.IsValid() {
			end.Pos = p.FlagsPos
		}
		m.At(end.Pos)
		m.Call(recipe.Call{
			Name: "fcntl(F_SETFL)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.FD(m.Own(i)), recipe.Int(unix.F_SETFL), recipe.Int(int64(end.Bits & settable))},
		})
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
	if made.Capacity.Value > 0 {
		made.Capacity.Value = roundPipe(made.Capacity.Value)
	}
	made.Content.Set = true
	for _, end := range []*Flags{&made.ReadEnd, &made.WriteEnd} {
		if !end.Pos.IsValid() {
			end.Pos = p.FlagsPos
		}
		*end = Flags{Bits: end.Bits, Pos: end.Pos, Set: true}
	}
	return &made
}

// Read implements [Readable]. Of an end that the tree does not have nothing is said.
func (p *Pipe) Read(l Live) (unseen []Unseen) {
	for _, e := range l.Ends() {
		*[]*Flags{&p.ReadEnd, &p.WriteEnd}[p.End(e)] = visible(pipeFlags, e.Flags())
	}
	ends := l.Ends()
	first := ends[0]
	for _, e := range ends {
		if p.End(e) == 0 {
			first = e // a content can only be read from here
		}
	}
	if !l.Wants("capacity") && !l.Wants("content") {
		return nil
	}
	lost := func(key, format string, args ...any) {
		if l.Wants(key) {
			unseen = append(unseen, Unseen{Key: key, Why: fmt.Sprintf(format, args...)})
		}
	}
	err := first.Copy(func(c LiveCopy) error {
		size, err := c.Fcntl(unix.F_GETPIPE_SZ)
		if err != nil {
			lost("capacity", "fcntl(F_GETPIPE_SZ): %v", err)
		} else {
			p.Capacity = tasktree.Number{Value: int64(size), Set: true}
		}
		if !l.Wants("content") {
			return nil
		}
		if n := p.readContent(c, p.End(first) == 0, lost); n > 0 {
			unseen = append(unseen, Unseen{Key: "content", Why: fmt.Sprintf("%d bytes wait in the pipe, and no task has its read end", n), Always: true})
		}
		return nil
	})
	if err != nil {
		lost("capacity", "%v", err)
		lost("content", "%v", err)
	}
	return unseen
}

// readContent reads what waits, without taking it. beyond is how many bytes wait that
// can be read from no end of the tree.
func (p *Pipe) readContent(c LiveCopy, readEnd bool, lost func(key, format string, args ...any)) (beyond int) {
	waiting, err := c.Waiting()
	switch {
	case err != nil:
		lost("content", "ioctl(FIONREAD): %v", err)
		return 0
	case waiting > 0 && !readEnd:
		return waiting
	case waiting > 0:
		content, whole, err := c.Tee()
		if err != nil {
			lost("content", "%d bytes wait in the pipe: tee: %v", waiting, err)
			return 0
		}
		if !whole {
			lost("content", "more waits in the pipe than this process may copy at once (fs.pipe-max-size): %d bytes of %d", len(content), waiting)
			return 0
		}
		p.Content.Value = string(content)
	}
	p.Content.Set = true
	return 0
}

// roundPipe rounds a capacity up as the kernel does: a power of two pages of
// 4096 bytes (fs/pipe.c, round_pipe_size).
func roundPipe(n int64) int64 {
	const page = 4096
	if n <= page {
		return page
	}
	return 1 << bits.Len64(uint64(n-1))
}
