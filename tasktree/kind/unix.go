package kind

import (
	"cmp"
	"fmt"
	"regexp"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Unix is a Unix domain socket, see unix(7), or two that are connected. What it is one of
// Pair, Listen, Via and Name says; without any it is a socket by itself.
type Unix struct {
	Socket

	Pair     schema.Text   // "stream", "dgram", "seqpacket": the ends a and b
	Listen   schema.Text   // the name of a listener
	Backlog  schema.Number // of a listener: one more connection may wait; not said: 128
	Via      schema.Text   // a listener that a connection goes to: the ends client and server
	Name     schema.Text   // the name that such a listener had
	Pending  schema.Bool   // the connection waits to be accepted, so that there is no server
	Socktype schema.Text   // as Pair, of what is no pair
	Bind     schema.Text   // the name of the client, or of a socket by itself
	Connect  schema.Text   // what a socket of datagrams sends to: an address, or an open file
	Mode     schema.Number // of the path that the name is
	Deleted  schema.Bool   // the path is removed again

	either bool // of a live one: nothing tells which end is the client
}

const (
	autobind       = "autobind" // in place of a name: one that the kernel chooses
	defaultBacklog = 128
	maxBacklog     = 1<<31 - 1
)

// socketTypes are the words for SOCK_STREAM and so on.
var socketTypes = []string{"stream", "dgram", "seqpacket"}

// typeBits are the types by their words.
var typeBits = map[string]int64{"stream": unix.SOCK_STREAM, "dgram": unix.SOCK_DGRAM, "seqpacket": unix.SOCK_SEQPACKET}

var pairEnds, connectionEnds = []string{"a", "b"}, []string{"client", "server"}

const client, server = 0, 1

func init() {
	register(Kind{
		Name: "unix",
		Also: []string{"socket", "socketpair", "sock", "uds", "af_unix", "local"},
		New:  func() tasktree.Spec { return &Unix{} },
		Is:   func(e LiveEnd) bool { return e.Unix() != nil },
		Doc: "Unix domain sockets, see unix(7). With `pair` it is two open files, the ends `a` and `b`, as socketpair(2) makes them. With `listen` it is a listener, " +
			"with `via` a connection to one, the ends `client` and `server`, or only `client` while it waits to be accepted (`pending`). Otherwise it is one socket, for datagrams mostly.\n\n" +
			"Names are paths, abstract names as `@name`, of any bytes, or `autobind`: the kernel chooses one. A relative path stays relative: the socket is bound in the folder of the description. The path must not be there yet; it stays there, unless it is `deleted`.\n\n" +
			"What is in the `queue` of an end waits to be read there: in datagrams and packets each item by itself, in a stream as one text but for boundaries behind an item with files and around an out-of-band byte. " +
			"Any open file can wait in a queue, the socket itself, too. An end that no task has and that waits nowhere is closed at release: the other one then reads what waits, and the end of it (or ECONNRESET, if what waits in the closed end was never read). " +
			"Connections to one listener wait in the order of the description.",
		Rights:  "an `owner` other than regrow's user and groups needs CAP_CHOWN. `regrow verify` sees the mode of a path, and whether it is deleted, with CAP_NET_ADMIN.",
		Kernels: "`oob` needs Linux 5.15, and CONFIG_AF_UNIX_OOB.",
		Example: "us: {type: unix, pair: stream, queue: {a: [\"abc \", {data: with files, files: [in.a, us.a]}], b: [back]}, shutdown: {b: wr}, flags: {a: [O_NONBLOCK]}}\n" +
			"in: {type: unix, pair: dgram, queue: {b: [one, \"\", two]}}\n" +
			"ul: {type: unix, listen: app.sock, backlog: 16, mode: 0660}\n" +
			"ua: {type: unix, via: ul, queue: {server: [hello], client: [welcome]}}\n" +
			"up: {type: unix, via: ul, pending: true, queue: {server: [\"GET /\"]}}\n" +
			"ud: {type: unix, socktype: dgram, bind: in.sock, deleted: true, queue: [one, {data: two, from: us2}]}\n" +
			"us2: {type: unix, socktype: dgram, bind: autobind, connect: ud}\n",
	})
}

// entryName matches what can be the name of an open file, with its end; another text is an
// address.
var entryName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*(\.[a-z]+)?$`)

// refOrAddress binds a key that is an address or the name of an open file.
func refOrAddress(f schema.Fields, key string, v *schema.Text, h schema.Help) {
	if v.Value == "" || entryName.MatchString(v.Value) {
		f.Ref(key, v, schema.ToFile, h)
		return
	}
	f.Bytes(key, v, h)
}

// Fields implements [schema.Fielder].
func (u *Unix) Fields(f schema.Fields) {
	f.Word("pair", &u.Pair, socketTypes, schema.Help{Doc: "`stream`, `dgram` or `seqpacket`: two sockets that are connected, as by socketpair(2)"})
	f.Bytes("listen", &u.Listen, schema.Help{Doc: "the name of a listener", Want: "a path, @NAME, or autobind"})
	f.Int("backlog", &u.Backlog, schema.Int{Hi: maxBacklog, Of: "a backlog", Help: schema.Help{Doc: "of a listener, see listen(2): that many connections may wait, and one more", Default: "128"}})
	f.Ref("via", &u.Via, schema.ToFile, schema.Help{Doc: "a listener of the tree: a connection to it"})
	f.Bytes("name", &u.Name, schema.Help{Doc: "the name of a listener that is gone, which a connection keeps", Want: "a path, or @NAME"})
	f.Bool("pending", &u.Pending, schema.Help{Doc: "`true`: nobody has accepted the connection yet; what the client has sent is in the queue of the server", Default: "`false`"})
	f.Word("socktype", &u.Socktype, socketTypes, schema.Help{Doc: "as `pair`, of a listener, a connection with a `name`, a socket by itself", Default: "`stream`; of a socket by itself `dgram`"})
	f.Bytes("bind", &u.Bind, schema.Help{Doc: "the name of the client, or of a socket by itself", Default: "none", Want: "a path, @NAME, or autobind"})
	refOrAddress(f, "connect", &u.Connect, schema.Help{Doc: "what a socket of datagrams sends to: an open file of the description, or an address, of a socket that is gone (write `./x` for a relative path)", Default: "nothing"})
	f.Mode("mode", &u.Mode, schema.Help{Doc: "permissions of the path, exactly", Default: "0777 less the umask"})
	f.Bool("deleted", &u.Deleted, schema.Help{Doc: "`true`: the path is removed before the release", Default: "`false`"})
	ends, queues, first := u.Ends(), u.Ends(), 0
	if u.Pending.Value && len(ends) > 0 {
		queues, first = connectionEnds[server:], server
	}
	u.fields(f, unixOptions, ends, queues, first)
}

// Kind implements [tasktree.Spec].
func (*Unix) Kind() string { return "unix" }

// Ends implements [tasktree.Spec].
func (u *Unix) Ends() []string {
	switch {
	case u.Pair.Value != "":
		return pairEnds
	case u.connection() && u.Pending.Value:
		return connectionEnds[:1]
	case u.connection():
		return connectionEnds
	}
	return nil
}

// backlog is that of a listener.
func (u *Unix) backlog() int64 {
	if u.Backlog.Said() {
		return u.Backlog.Value
	}
	return defaultBacklog
}

// connection reports whether it is one to a listener.
func (u *Unix) connection() bool { return u.Via.Value != "" || u.Name.Value != "" }

// single reports whether it is a socket by itself.
func (u *Unix) single() bool { return u.Pair.Value == "" && u.Listen.Value == "" && !u.connection() }

// unixNamed gives a socket of the description by its name, nil if there is none.
func unixNamed(t *tasktree.Tree, name string) *Unix {
	f := t.FileNamed(name)
	if f == nil || f.Spec == nil {
		return nil
	}
	u, _ := tasktree.Described(f.Spec).(*Unix)
	return u
}

// typeIn gives the word for the type of the socket.
func (u *Unix) typeIn(t *tasktree.Tree) string {
	switch {
	case u.Pair.Value != "":
		return u.Pair.Value
	case u.Socktype.Value != "":
		return u.Socktype.Value
	case u.Via.Value != "":
		if l := unixNamed(t, u.Via.Value); l != nil && l.Via.Value == "" {
			return l.typeIn(t)
		}
	case u.single():
		return "dgram"
	}
	return "stream"
}

func (u *Unix) stream(t *tasktree.Tree) bool { return u.typeIn(t) == "stream" }

// Check implements [tasktree.Spec].
func (u *Unix) Check(t *tasktree.Tree, report func(tasktree.Problem)) {
	bad := func(pos tasktree.Pos, key, format string, args ...any) {
		report(tasktree.Problem{Pos: pos, Path: key, Msg: fmt.Sprintf(format, args...)})
	}
	rules := unixRules{u, t, bad}
	rules.checkForm()
	rules.checkNames()
	rules.checkPeers()
	rules.checkBacklog()
	u.check(u.Ends(), report)
	stream := u.stream(t)
	for end := range u.Queue {
		names := u.Ends()
		if u.Pending.Value {
			names = connectionEnds
		}
		path := at("queue", names, end)
		checkItems(u.Queue[end], stream, stream, path, report)
		for i, item := range u.Queue[end] {
			if item.From.Said() && !u.single() {
				bad(item.From.Pos, fmt.Sprintf("%s[%d].from", path, i), "what waits here comes from the other end; drop from")
			}
		}
	}
}

// bound is the name that the socket, or the client, is bound to.
func (u *Unix) bound() schema.Text {
	if u.Listen.Value != "" {
		return u.Listen
	}
	return u.Bind
}

// Traits implements [tasktree.Spec]. All are made by one process, so that what the kernel
// keeps of their maker is the same for all.
func (*Unix) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{ByRunner: true} }

// Needs implements [tasktree.Ordered].
func (u *Unix) Needs() []string {
	if u.Via.Value != "" {
		return []string{u.Via.Value}
	}
	return nil
}

// Host implements [tasktree.Needy].
func (u *Unix) Host(*tasktree.Tree) (needs []recipe.Need) {
	for _, queue := range u.Queue {
		for _, item := range queue {
			if n := len(item.Files); n > 0 {
				needs = append(needs, recipe.Need{What: recipe.InFlight, N: int64(n), Pos: item.Files[0].Pos})
			}
			if item.OOB.Value {
				needs = append(needs, recipe.Need{What: recipe.UnixOOB, Pos: item.OOB.Pos})
			}
		}
	}
	for end := range u.Options {
		needs = append(needs, u.Options[end].host()...)
	}
	if u.Listen.Value != "" {
		needs = append(needs, recipe.Need{What: recipe.Backlog, N: u.backlog(), Pos: cmp.Or(u.Backlog.Pos, u.Listen.Pos)})
	}
	return needs
}
