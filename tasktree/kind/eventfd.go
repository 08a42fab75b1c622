package kind

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Eventfd is a counter that can be waited for, see eventfd(2).
type Eventfd struct {
	Counter   schema.Unsigned
	Semaphore schema.Bool // a read takes 1, not all
	Flags     Flags       // O_NONBLOCK; O_APPEND and O_NOATIME without a meaning
}

// maxCounter is the largest value of an eventfd's counter: one more would be no number
// that write(2) takes.
const maxCounter = math.MaxUint64 - 1

var eventfdFlags = flagTable(refusals{
	access: "an eventfd is always open for reading and writing; leave the access mode out",
	async:  "an eventfd sends no signals; watch it by an epoll",
	direct: "an eventfd moves no blocks; drop it",
	others: "it is for a path, and an eventfd has none; drop it",
	own: map[string]string{
		"EFD_CLOEXEC":   refuseCloexec,
		"EFD_NONBLOCK":  "write O_NONBLOCK",
		"EFD_SEMAPHORE": "write semaphore: true",
	},
})

func init() {
	register(Kind{
		Name: "eventfd",
		Also: []string{"event", "eventfd2", "semaphore", "counter"},
		New:  func() tasktree.Spec { return &Eventfd{} },
		Is:   func(e LiveEnd) bool { return e.Link() == "anon_inode:[eventfd]" },
		Doc: "A counter that can be waited for, see eventfd(2). A read takes all of it, or 1 from a semaphore. " +
			"It has no owner and no mode: all such files of the machine share one inode.",
		Kernels: "Whether it is a semaphore is shown by newer kernels only (6.12 does, 6.1 does not); where it is not visible, `regrow verify --json` lists it.",
		Example: "ev: {type: eventfd, counter: 7, semaphore: true, flags: [O_NONBLOCK]}\n",
	})
}

// Fields implements [schema.Fielder].
func (e *Eventfd) Fields(f schema.Fields) {
	f.Uint("counter", &e.Counter, schema.Uint{Hi: maxCounter, Of: "a counter", Help: schema.Help{
		Moves: true, Doc: "its value, 0 to 18446744073709551614", Default: "0",
	}})
	f.Bool("semaphore", &e.Semaphore, schema.Help{Doc: "`true`: a read takes 1 from the counter; `false`: all of it", Default: "`false`"})
	f.Flags("flags", &e.Flags, eventfdFlags, schema.Help{Doc: "list of `O_NONBLOCK`, `O_APPEND`, `O_NOATIME`", Default: "none"})
}

// Kind implements [tasktree.Spec].
func (*Eventfd) Kind() string { return "eventfd" }

// Ends implements [tasktree.Spec].
func (*Eventfd) Ends() []string { return nil }

// Check implements [tasktree.Spec].
func (e *Eventfd) Check(_ *tasktree.Tree, report func(tasktree.Problem)) {
	if e.Counter.Value > maxCounter { // a program's: a description is refused before
		report(tasktree.Problem{Pos: e.Counter.Pos, Path: "counter", Msg: fmt.Sprintf("%d is out of range: expected 0 to %d", e.Counter.Value, uint64(maxCounter))})
	}
}

// Traits implements [tasktree.Spec].
func (*Eventfd) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{} }

// first is the value that it is made with: eventfd2(2) takes 32 bits.
func (e *Eventfd) first() uint64 { return min(e.Counter.Value, math.MaxUint32) }

// Make implements [tasktree.Spec].
func (e *Eventfd) Make(_ *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	flags := unix.EFD_CLOEXEC | e.Flags.Bits&unix.O_NONBLOCK
	if e.Semaphore.Value { // there is no other way to become one
		flags |= unix.EFD_SEMAPHORE
	}
	return []recipe.Ref{m.FD(recipe.Call{
		Name: "eventfd2", Nr: unix.SYS_EVENTFD2,
		Args: []recipe.Arg{recipe.Int(int64(e.first())), recipe.Int(int64(flags))},
	})}
}

// Fill implements [tasktree.Filled].
func (e *Eventfd) Fill(_ *tasktree.Tree, m recipe.Maker) {
	rest := e.Counter.Value - e.first()
	if rest == 0 {
		return
	}
	m.At(e.Counter.Pos)
	m.Call(recipe.Call{
		Name: "write", Nr: unix.SYS_WRITE, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.FD(m.Own(0)), recipe.Data(binary.NativeEndian.AppendUint64(nil, rest)), recipe.Int(8)},
		Want: 8, HasWant: true, Short: "the counter was not taken whole",
	})
}

// Shape implements [tasktree.Shaped].
func (e *Eventfd) Shape(_ *tasktree.Tree, m recipe.Maker) {
	setFlags(m, m.Own(0), e.Flags, e.Flags.Bits&unix.O_NONBLOCK)
}

// End implements [Readable].
func (*Eventfd) End(LiveEnd) int { return 0 }

// Hint implements [Readable].
func (*Eventfd) Hint() string { return "eventfd" }

// Made implements [Readable].
func (e *Eventfd) Made(*tasktree.Tree) tasktree.Spec {
	made := *e
	made.Counter.Set, made.Semaphore.Set, made.Flags = true, true, madeFlags(e.Flags)
	return &made
}

// Read implements [Readable].
func (e *Eventfd) Read(l Live) (unseen []Unseen) {
	end := l.Ends()[0]
	e.Flags = visible(eventfdFlags, end.Flags())
	const hex = 16
	count, err := strconv.ParseUint(end.Info("eventfd-count"), hex, 64)
	if err != nil {
		unseen = append(unseen, Unseen{Key: "counter", Why: "the kernel shows no eventfd-count in /proc/PID/fdinfo"})
	} else {
		e.Counter = schema.Unsigned{Value: count, Set: true}
	}
	switch end.Info("eventfd-semaphore") {
	case "0", "1":
		e.Semaphore = schema.Bool{Value: end.Info("eventfd-semaphore") == "1", Set: true}
	default:
		unseen = append(unseen, Unseen{Key: "semaphore", Why: "this kernel does not show it, and only a read would tell", Always: true})
	}
	return unseen
}
