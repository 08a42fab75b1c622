package kind_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"regrow/images"
	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// named are open files that others name, by what a recorder gives for them.
type used struct {
	File string
	End  int
}

func (r *recorder) Message(m recipe.Message) { r.keep(m) }

// unixRecipe gives the steps that make the open file "s" of a description, without places.
func unixRecipe(t *testing.T, files string) (steps []any) {
	t.Helper()
	tree, err := images.Decode(strings.NewReader("version: 1\nfiles:\n"+files+"tasks: [{name: a}]\n"), "tree.yaml", "/dir")
	if err != nil {
		t.Fatal(err)
	}
	m := &recorder{keepsUses: true}
	m.phases(tree.FileNamed("s").Spec, tree)
	for _, step := range m.steps {
		if _, place := step.(tasktree.Pos); !place {
			steps = append(steps, step)
		}
	}
	return steps
}

func testUnixRecipes(t *testing.T, cases []unixRecipeCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			opts := cmp.Options{cmpopts.IgnoreFields(recipe.Call{}, "Short", "Hints"), cmpopts.IgnoreFields(recipe.Message{}, "Hints"), cmpopts.EquateEmpty()}
			if diff := cmp.Diff(c.want, unixRecipe(t, c.files), opts...); diff != "" {
				t.Errorf("recipe (-want +got):\n%s", diff)
			}
		})
	}
}

type unixRecipeCase struct {
	name, files string
	want        []any
}

func fdArg(ref recipe.Ref) recipe.Arg { return recipe.Arg{Kind: recipe.ArgFD, Ref: ref} }

func socketpair(of int64) pairCall {
	return pairCall{recipe.Call{
		Name: "socketpair", Nr: unix.SYS_SOCKETPAIR,
		Args: []recipe.Arg{{Int: unix.AF_UNIX}, {Int: of | unix.SOCK_CLOEXEC}, {}, {Kind: recipe.ArgPair}},
	}}
}

func TestUnixPairMake(t *testing.T) {
	const a, b = firstRef, firstRef + 1
	testUnixRecipes(t, []unixRecipeCase{
		{"plain", "  s: {type: unix, pair: dgram}\n", []any{socketpair(unix.SOCK_DGRAM)}},
		{
			"filled from the other end, in order, then shaped",
			"  s: {type: unix, pair: stream, queue: {a: [one, {data: two, files: [n, s.b]}], b: [{data: \"x!\", oob: true}]}, shutdown: {b: wr, a: none}, flags: [O_NONBLOCK], owner: {b: [5, 6]}}\n  n: {type: reg, path: /dev/null}\n",
			[]any{
				socketpair(unix.SOCK_STREAM),
				recipe.Message{To: b, Data: []byte("one")},
				used{"n", 0},
				used{"s", 1},
				recipe.Message{To: b, Data: []byte("two"), Files: []recipe.Ref{firstRef + 2, firstRef + 3}},
				recipe.Message{To: a, Data: []byte("x!"), Flags: unix.MSG_OOB},
				setFlagsCall(a, unix.O_NONBLOCK),
				recipe.Call{Name: "shutdown", Nr: unix.SYS_SHUTDOWN, Effect: recipe.Nothing, Args: []recipe.Arg{fdArg(b), {Int: unix.SHUT_WR}}},
				setFlagsCall(b, unix.O_NONBLOCK),
				recipe.Call{Name: "fchown", Nr: unix.SYS_FCHOWN, Effect: recipe.Nothing, Args: []recipe.Arg{fdArg(b), {Int: 5}, {Int: 6}}},
			},
		},
	})
}

// unixCase is a description of "s", what is seen of its ends, and what differs.
type unixCase struct {
	name  string
	said  string // keys of "s"
	ends  []kind.LiveEnd
	want  []string
	blind []string
}

func testUnixRead(t *testing.T, cases []unixCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tree, err := images.Decode(strings.NewReader("version: 1\nfiles:\n  s: {type: unix, "+c.said+"}\n  n: {type: reg, path: /dev/null}\ntasks: [{name: a}]\n"), "tree.yaml", "/dir")
			if err != nil {
				t.Fatal(err)
			}
			made := tree.Files[0].Spec.(*kind.Unix).Made(tree)
			live := &kind.Unix{}
			for _, e := range c.ends {
				if k, ok := kind.Of(e); !ok || k.Name != "unix" {
					t.Errorf("it is of kind %q", k.Name)
				}
				live.Join(e)
			}
			var blind, differs []string
			for _, u := range live.Read(fakeLive{ends: c.ends, wants: []string{"shutdown.a", "shutdown.b", "shutdown"}}) {
				blind = append(blind, u.Key+": "+u.Why)
			}
			live.Settle(made)
			for _, d := range schema.Compare(made, live) {
				differs = append(differs, d.Path+": "+d.First+", "+d.Then)
			}
			if diff := cmp.Diff(c.want, differs, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.blind, blind, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("not seen (-want +got):\n%s", diff)
			}
		})
	}
}

// waiting makes what waits, out of texts.
func waiting(texts ...string) (items []kind.LiveItem) {
	for _, text := range texts {
		items = append(items, kind.LiveItem{Data: []byte(text)})
	}
	return items
}

func TestUnixPairRead(t *testing.T) {
	pair := func(of, shutA, shutB int, a, b []kind.LiveItem) []kind.LiveEnd {
		end := func(inode, peer uint64, shut int, queue []kind.LiveItem) kind.LiveEnd {
			return fakeEnd{link: "socket:[x]", unix: &kind.LiveUnix{Inode: inode, Peer: peer, Type: of, Connected: true, Shutdown: shut}, queue: queue}
		}
		return []kind.LiveEnd{end(10, 11, shutA, a), end(11, 10, shutB, b)}
	}
	const stream, dgram, packets = unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET
	files := []kind.LiveItem{{Data: []byte("abc"), Files: []string{"n"}}, {Data: []byte("d")}}
	oob := []kind.LiveItem{{Data: []byte("ab")}, {Data: []byte("!"), OOB: true}, {Data: []byte("c")}}
	testUnixRead(t, []unixCase{
		{"nothing", "pair: stream", pair(stream, 0, 0, nil, nil), nil, nil},
		{"another type", "pair: stream", pair(packets, 0, 0, nil, nil), []string{`pair: "stream", "seqpacket"`}, nil},
		{"a stream's items are one", "pair: stream, queue: {a: [a, b, c]}", pair(stream, 0, 0, waiting("abc"), nil), nil, nil},
		{"but for those with files", "pair: stream, queue: {a: [a, {data: bc, files: [n]}, d]}", pair(stream, 0, 0, files, nil), nil, nil},
		{"and an out-of-band byte", `pair: stream, queue: {a: [a, {data: "b!", oob: true}, c]}`, pair(stream, 0, 0, oob, nil), nil, nil},
		{"datagrams are not", "pair: dgram, queue: {b: [a, b]}", pair(dgram, 0, 0, nil, waiting("ab")), []string{`queue.b[0].data: "a", "ab"`, `queue.b[1].data: "b", `}, nil},
		{"empty ones that a look has seen before", `pair: dgram, queue: {b: [a, "", b, ""]}`, pair(dgram, 0, 0, nil, waiting("a", "b")), nil, nil},
		{"empty ones that are seen", `pair: dgram, queue: {b: ["", "", b]}`, pair(dgram, 0, 0, nil, waiting("", "", "b")), nil, nil},
		{"an empty one that nobody expects", `pair: dgram, queue: {b: [b]}`, pair(dgram, 0, 0, nil, waiting("", "b")), []string{`queue.b[0].data: "b", ""`, `queue.b[1].data: , "b"`}, nil},
		{"one shut to send is one that receives no more", "pair: stream, shutdown: {a: wr}", pair(stream, 2, 1, nil, nil), nil, nil},
		{"of datagrams it is not", "pair: dgram, shutdown: {a: wr}", pair(dgram, 2, 0, nil, nil), nil, nil},
		{"nothing is shut", "pair: seqpacket, shutdown: {a: wr}", pair(packets, 0, 0, nil, nil), []string{`shutdown.a: "wr", "none"`, `shutdown.b: "rd", "none"`}, nil},
		{"an owner without a group", "pair: stream, owner: 0", pair(stream, 0, 0, nil, nil), nil, nil},
		{"another owner", "pair: stream, owner: {b: [0, 5]}", pair(stream, 0, 0, nil, nil), []string{"owner.b[1]: 5, 0"}, nil},
		{
			"the other side is closed", "pair: stream, queue: {a: [x]}",
			[]kind.LiveEnd{fakeEnd{link: "socket:[x]", unix: &kind.LiveUnix{Inode: 10, Type: stream, Connected: true, Shutdown: 3}, queue: waiting("x")}},
			nil,
			[]string{"shutdown.a: the other side is closed, which shuts both directions"},
		},
	})
}

// TestUnixTurn holds that the ends of a pair can be swapped with all that they have.
func TestUnixTurn(t *testing.T) {
	decode := func(text string) *kind.Unix {
		tree, err := images.Decode(strings.NewReader("version: 1\nfiles: {s: {type: unix, pair: stream, "+text+"}}\ntasks: [{name: a}]\n"), "tree.yaml", "/dir")
		if err != nil {
			t.Fatal(err)
		}
		return tree.Files[0].Spec.(*kind.Unix)
	}
	u := decode("queue: {a: [x], b: [y, z]}, shutdown: {a: rd}, flags: {a: [O_NONBLOCK]}, owner: {b: 5}")
	if !u.Turn() {
		t.Error("it cannot be turned")
	}
	if diff := schema.Compare(decode("queue: {b: [x], a: [y, z]}, shutdown: {b: rd}, flags: {b: [O_NONBLOCK]}, owner: {a: 5}"), u); len(diff) > 0 {
		t.Errorf("%+v", diff)
	}
}

// TestUnixNamesMake holds the recipes of what has a name: nobody can connect to a path with
// another mode, a pending client is connected behind those that are accepted, a path that is
// removed is needed to the end.
func TestUnixNamesMake(t *testing.T) {
	const s = firstRef
	call := func(name string, nr uintptr, args ...recipe.Arg) recipe.Call {
		return recipe.Call{Name: name, Nr: nr, Effect: recipe.Nothing, Args: args}
	}
	socket := func(of int64) fdCall {
		return fdCall{recipe.Call{Name: "socket", Nr: unix.SYS_SOCKET, Args: []recipe.Arg{{Int: unix.AF_UNIX}, {Int: of | unix.SOCK_CLOEXEC}, {}}}}
	}
	data := func(text string) recipe.Arg { return recipe.Arg{Kind: recipe.ArgData, Data: []byte(text)} }
	number := func(n int64) recipe.Arg { return recipe.Arg{Int: n} }
	inFolder := func(c recipe.Call) recipe.Call { c.Folder = "/dir"; return c }
	testUnixRecipes(t, []unixRecipeCase{
		{
			"a listener with a relative path, mode and owner", "  s: {type: unix, listen: x, mode: 0600, owner: 5, backlog: 3}\n",
			[]any{
				socket(unix.SOCK_STREAM),
				call("fchmod", unix.SYS_FCHMOD, fdArg(s), number(0o600)),
				inFolder(call("bind", unix.SYS_BIND, fdArg(s), data("\x01\x00x\x00"), number(4))),
				undone("/dir/x"),
				call("fchmodat", unix.SYS_FCHMODAT, number(unix.AT_FDCWD), data("/dir/x\x00"), number(0o600)),
				call("fchmod", unix.SYS_FCHMOD, fdArg(s), number(0o777)),
				call("listen", unix.SYS_LISTEN, fdArg(s), number(3)),
				call("fchown", unix.SYS_FCHOWN, fdArg(s), number(5), number(-1)),
				call("fchownat", unix.SYS_FCHOWNAT, number(unix.AT_FDCWD), data("/dir/x\x00"), number(5), number(-1), number(unix.AT_SYMLINK_NOFOLLOW)),
			},
		},
		{
			"a connection that waits", "  l: {type: unix, listen: \"@l\"}\n  s: {type: unix, via: l, pending: true, queue: {server: [hi]}}\n",
			[]any{
				socket(unix.SOCK_STREAM | unix.SOCK_NONBLOCK),
				used{"l", 0},
				call("connect", unix.SYS_CONNECT, fdArg(s), data("\x01\x00\x00l"), number(4)),
				recipe.Message{To: s, Data: []byte("hi")},
				setFlagsCall(s, 0),
			},
		},
		{
			"options, with the filter before its lock", "  s: {type: unix, socktype: dgram, options: {SO_SNDBUF: 8192, SO_LOCK_FILTER: 1, SO_RCVTIMEO: 1500ms}, filter: [[6, 0, 0, 9]]}\n",
			[]any{
				socket(unix.SOCK_DGRAM),
				setsockopt("SO_ATTACH_FILTER", s, unix.SO_ATTACH_FILTER, recipe.Struct(recipe.Data([]byte("\x01\x00\x00\x00\x00\x00\x00\x00")), recipe.Pointer([]byte("\x06\x00\x00\x00\x09\x00\x00\x00"))), 16),
				setsockopt("SO_RCVTIMEO", s, unix.SO_RCVTIMEO, data("\x01\x00\x00\x00\x00\x00\x00\x00\x20\xa1\x07\x00\x00\x00\x00\x00"), 16),
				setsockopt("SO_SNDBUF", s, unix.SO_SNDBUF, data("\x00\x10\x00\x00"), 4),
				allowing(setsockopt("SO_SNDBUFFORCE", s, unix.SO_SNDBUFFORCE, data("\x00\x10\x00\x00"), 4), unix.EPERM),
				setsockopt("SO_LOCK_FILTER", s, unix.SO_LOCK_FILTER, data("\x01\x00\x00\x00"), 4),
			},
		},
	})
}

func setsockopt(name string, fd recipe.Ref, nr int64, value recipe.Arg, size int64) recipe.Call {
	return recipe.Call{
		Name: "setsockopt(" + name + ")", Nr: unix.SYS_SETSOCKOPT, Effect: recipe.Nothing,
		Args: []recipe.Arg{fdArg(fd), {Int: unix.SOL_SOCKET}, {Int: nr}, value, {Int: size}},
	}
}

func allowing(c recipe.Call, errno unix.Errno) recipe.Call {
	c.Allow = int(errno)
	return c
}
