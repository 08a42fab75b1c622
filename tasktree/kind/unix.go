package kind

import (
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Unix is a Unix domain socket, see unix(7), or a pair of them.
type Unix struct {
	Socket

	Pair schema.Text // "stream", "dgram", "seqpacket": the ends a and b
}

// socketTypes are the words for SOCK_STREAM and so on.
var socketTypes = []string{"stream", "dgram", "seqpacket"}

// typeBits are the types by their words.
var typeBits = map[string]int64{"stream": unix.SOCK_STREAM, "dgram": unix.SOCK_DGRAM, "seqpacket": unix.SOCK_SEQPACKET}

var pairEnds = []string{"a", "b"}

func init() {
	register(Kind{
		Name: "unix",
		Also: []string{"socket", "socketpair", "sock", "uds", "af_unix", "local"},
		New:  func() tasktree.Spec { return &Unix{} },
		Is:   func(e LiveEnd) bool { return e.Unix() != nil },
		Doc: "Unix domain sockets, see unix(7). A pair, as socketpair(2) makes it, is two open files, the ends `a` and `b`. " +
			"What is in the `queue` of an end waits to be read there: in datagrams and packets each item by itself, in a stream as one text but for boundaries behind an item with files and around an out-of-band byte. " +
			"Any open file can wait in a queue, the socket itself, too. An end that no task has and that waits nowhere is closed at release: the other one then reads what waits, and the end of it (or ECONNRESET, if what waits in the closed end was never read).",
		Rights:  "an `owner` other than regrow's user and groups needs CAP_CHOWN.",
		Kernels: "`oob` needs Linux 5.15, and CONFIG_AF_UNIX_OOB.",
		Example: "us: {type: unix, pair: stream, queue: {a: [\"abc \", {data: with files, files: [in.a, us.a]}], b: [back]}, shutdown: {b: wr}, flags: {a: [O_NONBLOCK]}}\n" +
			"in: {type: unix, pair: dgram, queue: {b: [one, \"\", two]}}\n",
	})
}

// Fields implements [schema.Fielder].
func (u *Unix) Fields(f schema.Fields) {
	f.Word("pair", &u.Pair, socketTypes, schema.Help{Doc: "`stream`, `dgram` or `seqpacket`: two sockets that are connected, as by socketpair(2)"})
	u.fields(f, u.Ends(), u.Ends(), 0)
}

// Kind implements [tasktree.Spec].
func (*Unix) Kind() string { return "unix" }

// Ends implements [tasktree.Spec].
func (u *Unix) Ends() []string {
	if u.Pair.Value != "" {
		return pairEnds
	}
	return nil
}

// kind gives the word for the type of the socket.
func (u *Unix) socketType() string { return u.Pair.Value }

func (u *Unix) stream() bool { return u.socketType() == "stream" }

// Check implements [tasktree.Spec].
func (u *Unix) Check(_ *tasktree.Tree, report func(tasktree.Problem)) {
	if u.Pair.Value == "" {
		report(tasktree.Problem{Msg: "it is not said what it is; write pair: stream, dgram or seqpacket"})
	}
	u.check(u.Ends(), report)
	for end := range u.Queue {
		path := at("queue", pairEnds, end)
		checkItems(u.Queue[end], u.stream(), u.stream(), path, report)
		for i, item := range u.Queue[end] {
			if item.From.Said() {
				report(tasktree.Problem{Pos: item.From.Pos, Path: fmt.Sprintf("%s[%d].from", path, i), Msg: "what waits in an end of a pair comes from the other end; drop from"})
			}
		}
	}
}

// Traits implements [tasktree.Spec]. All are made by one process, so that what the kernel
// keeps of their maker is the same for all.
func (*Unix) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{ByRunner: true} }

// Host implements [tasktree.Needy].
func (u *Unix) Host(*tasktree.Tree) (needs []recipe.Need) {
	for _, queue := range u.Queue {
		for _, item := range queue {
			if item.OOB.Value {
				needs = append(needs, recipe.Need{What: recipe.UnixOOB, Pos: item.OOB.Pos})
			}
		}
	}
	return needs
}

// Make implements [tasktree.Spec].
func (u *Unix) Make(_ *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	m.At(u.Pair.Pos)
	a, b := m.Pair(recipe.Call{
		Name: "socketpair", Nr: unix.SYS_SOCKETPAIR,
		Args: []recipe.Arg{recipe.Int(unix.AF_UNIX), recipe.Int(typeBits[u.Pair.Value] | unix.SOCK_CLOEXEC), recipe.Int(0), recipe.PairAt()},
	})
	return []recipe.Ref{a, b}
}

// Fill implements [tasktree.Filled].
func (u *Unix) Fill(t *tasktree.Tree, m recipe.Maker) {
	for end := range u.Queue {
		u.fillBy(t, m, m.Own(1-end), end)
	}
}

// fillBy sends what waits at an end by the socket on the other side.
func (u *Unix) fillBy(t *tasktree.Tree, m recipe.Maker, by recipe.Ref, end int) {
	for i := range u.Queue[end] {
		u.Queue[end][i].send(t, m, by, nil, fullHints...)
	}
}

// fullHints say what it means that a queue takes no more.
var fullHints = []recipe.Hint{
	{Errno: int(unix.EAGAIN), Text: "the queue is full: what waits is more than the send buffer of the other side takes (net.core.wmem_default, where an item costs some hundred bytes more than its text)"},
	{Errno: int(unix.EMSGSIZE), Text: "the item is larger than the send buffer of the other side (net.core.wmem_default)"},
	{Errno: int(unix.ETOOMANYREFS), Text: "more open files wait in queues than a user may have there: as many as RLIMIT_NOFILE, without CAP_SYS_RESOURCE and CAP_SYS_ADMIN"},
	{Errno: int(unix.EOPNOTSUPP), Text: "this kernel has no out-of-band bytes on Unix sockets; drop oob"},
}

// Shape implements [tasktree.Shaped].
func (u *Unix) Shape(_ *tasktree.Tree, m recipe.Maker) {
	for end := range max(1, len(u.Ends())) {
		u.shape(m, end, 0)
	}
}
