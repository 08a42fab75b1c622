package kind_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

func TestPipeCheck(t *testing.T) {
	bytes := func(n int) string { return strings.Repeat("x", n) }
	testCheck(t, "pipe", []checkCase{
		{"nothing said", values{}, nil},
		{"usual capacity is full", values{"content": bytes(65536)}, nil},
		{
			"over the usual capacity",
			values{"content": bytes(65537)},
			[]string{"5:1: content: 65537 bytes do not fit into the pipe's capacity of 65536 (the usual one, say capacity for a larger one)"},
		},
		{"capacity is rounded up to a page", values{"capacity": 1, "content": bytes(4096)}, nil},
		{
			"over a page",
			values{"capacity": 1, "content": bytes(4097)},
			[]string{"5:1: content: 4097 bytes do not fit into the pipe's capacity of 4096 (1 rounded up)"},
		},
		{"capacity is rounded up to a power of two", values{"capacity": 65537, "content": bytes(131072)}, nil},
		{
			"over a power of two",
			values{"capacity": 65537, "content": bytes(131073)},
			[]string{"5:1: content: 131073 bytes do not fit into the pipe's capacity of 131072 (65537 rounded up)"},
		},
		{"packets", values{"packet": true, "content": []string{bytes(4096), "x"}, "capacity": 8192}, nil},
		{
			"packets that are none",
			values{"packet": true, "content": []string{"x", "", bytes(4097)}},
			[]string{"5:3: content[1]: packet 2 is empty; a write of no bytes makes none", "5:4: content[2]: packet 3 has 4097 bytes, a packet pipe takes 4096"},
		},
		{
			"too many packets",
			values{"packet": true, "content": strings.Split(bytes(17), "")},
			[]string{"5:18: content: 17 packets: the capacity of 65536 bytes (the usual one, say capacity for a larger one) holds 16"},
		},
		{"a list without packets", values{"content": []string{"a", "b"}}, []string{"5:2: content: a list of packets goes with packet: true; without it a pipe holds one text"}},
		{"all slots", values{"capacity": 4096, "content": bytes(1), "read": 4095}, nil},
		{
			"over the capacity with what was read",
			values{"capacity": 4096, "content": bytes(2), "read": 4095},
			[]string{"5:1: content: 4097 bytes with the 4095 that were read do not fit into the pipe's capacity of 4096 (4096 rounded up)"},
		},
		{"all was read", values{"read": 1}, []string{"20:1: read: when all is read no page is taken; drop read, or write the content that is left"}},
		{"a part of a packet", values{"packet": true, "content": "x", "read": 1}, []string{"20:1: read: the rest of a packet is lost as soon as a part of it is read; drop read"}},
		{"a mode of programs", values{"mode": 0o4755}, []string{"3:1: mode: 04755: a pipe is no program and no folder; only the bits of 0777 have a meaning"}},
	})
}

func TestPipeTraits(t *testing.T) {
	spec := decode(t, "pipe", values{"capacity": 1, "content": "x"})
	if diff := cmp.Diff([]string{"r", "w"}, spec.Ends()); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
	if traits := spec.Traits(&tasktree.Tree{}); traits != (tasktree.Traits{}) {
		t.Errorf("traits %+v", traits)
	}
	for _, c := range []struct {
		said values
		want recipe.Need
	}{
		{values{"capacity": 1}, recipe.Need{What: recipe.PipePages, N: 4096, Pos: keyPos("capacity")}},
		{values{}, recipe.Need{What: recipe.PipePages, N: 16 * int64(os.Getpagesize())}},
	} {
		got := decode(t, "pipe", c.said).(tasktree.Needy).Host(&tasktree.Tree{})
		if diff := cmp.Diff([]recipe.Need{c.want}, got); diff != "" {
			t.Errorf("needs (-want +got):\n%s", diff)
		}
	}
}

func TestPipeMake(t *testing.T) {
	const r, w = firstRef, firstRef + 1
	ends := []recipe.Ref{r, w}
	pipe2 := func(flags int64) pairCall {
		return pairCall{recipe.Call{
			Name: "pipe2", Nr: unix.SYS_PIPE2,
			Args: []recipe.Arg{{Kind: recipe.ArgPair}, {Int: flags | unix.O_CLOEXEC}},
		}}
	}
	setFlags := func(end recipe.Ref, flags int64) recipe.Call {
		return recipe.Call{
			Name: "fcntl(F_SETFL)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing,
			Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: end}, {Int: unix.F_SETFL}, {Int: flags}},
		}
	}
	setSize := func(size int64) recipe.Call {
		return recipe.Call{
			Name: "fcntl(F_SETPIPE_SZ)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing, // the kernel rounds up by its own page size
			Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: w}, {Int: unix.F_SETPIPE_SZ}, {Int: size}},
		}
	}
	getSize := recipe.Call{
		Name: "fcntl(F_GETPIPE_SZ)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing, When: recipe.PipesLimited, Want: 16 * int64(os.Getpagesize()), HasWant: true,
		Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: w}, {Int: unix.F_GETPIPE_SZ}},
	}
	write := func(s string) recipe.Call {
		n := int64(len(s))
		return recipe.Call{
			Name: "write", Nr: unix.SYS_WRITE, Effect: recipe.Nothing, Want: n, HasWant: true,
			Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: w}, {Kind: recipe.ArgData, Data: []byte(s)}, {Int: n}},
		}
	}
	endPos := func(end int) tasktree.Pos { return tasktree.Pos{Line: line["flags"], Col: 10 * (end + 1)} }

	read := func(n int) recipe.Call {
		return recipe.Call{
			Name: "read", Nr: unix.SYS_READ, Effect: recipe.Nothing, Want: int64(n), HasWant: true,
			Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: r}, {Kind: recipe.ArgData, Data: make([]byte, n)}, {Int: int64(n)}},
		}
	}
	item := func(i int) tasktree.Pos { return tasktree.Pos{Line: line["content"], Col: 2 + i} }
	inode := func(name string, nr uintptr, args ...int64) recipe.Call {
		c := recipe.Call{Name: name, Nr: nr, Effect: recipe.Nothing, Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: w}}}
		for _, n := range args {
			c.Args = append(c.Args, recipe.Arg{Int: n})
		}
		return c
	}

	cases := []makeCase{
		{"plain", values{}, []any{pipe2(0), getSize}, ends},
		{"both alike", values{"flags": [][]string{{"O_NONBLOCK", "O_DIRECT"}, {"O_DIRECT", "O_NONBLOCK"}}}, []any{pipe2(unix.O_NONBLOCK | unix.O_DIRECT), getSize, endPos(0), setFlags(r, unix.O_NONBLOCK|unix.O_DIRECT)}, ends},
		{
			"one end does not block",
			values{"flags": [][]string{{"O_NONBLOCK"}, nil}},
			[]any{pipe2(0), getSize, endPos(0), setFlags(r, unix.O_NONBLOCK)},
			ends,
		},
		{
			"what both want and one more",
			values{"flags": [][]string{{"O_NONBLOCK"}, {"O_NONBLOCK", "O_DIRECT"}}},
			[]any{pipe2(unix.O_NONBLOCK | unix.O_DIRECT), getSize},
			ends,
		},
		{
			"what pipe2 does not take",
			values{"flags": [][]string{{"O_ASYNC"}, {"O_ASYNC", "O_NOATIME"}}},
			[]any{pipe2(0), getSize, endPos(0), setFlags(r, unix.O_ASYNC), endPos(1), setFlags(w, unix.O_ASYNC|unix.O_NOATIME)},
			ends,
		},
		{
			"content must not block and leaves no trace",
			values{"content": "job\x00\n", "flags": [][]string{nil, nil}},
			[]any{pipe2(unix.O_NONBLOCK), getSize, keyPos("content"), write("job\x00\n"), endPos(0), setFlags(r, 0), endPos(1), setFlags(w, 0)},
			ends,
		},
		{
			"content where one end blocks",
			values{"content": "x", "flags": [][]string{{"O_NONBLOCK"}, nil}},
			[]any{pipe2(unix.O_NONBLOCK), getSize, keyPos("content"), write("x"), endPos(1), setFlags(w, 0)},
			ends,
		},
		{
			"room before content",
			values{"content": "x", "capacity": 5000, "flags": [][]string{{"O_NONBLOCK"}, {"O_NONBLOCK"}}},
			[]any{pipe2(unix.O_NONBLOCK), keyPos("capacity"), setSize(8192), keyPos("content"), write("x")},
			ends,
		},
		{
			"packets, each in a write of its own",
			values{"packet": true, "content": []string{"p1", "p22"}, "flags": [][]string{nil, {"O_NONBLOCK"}}},
			[]any{pipe2(unix.O_NONBLOCK | unix.O_DIRECT), getSize, item(0), write("p1"), item(1), write("p22"), endPos(0), setFlags(r, 0)},
			ends,
		},
		{"a text is one packet", values{"packet": true, "content": "p1"}, []any{pipe2(unix.O_NONBLOCK | unix.O_DIRECT), getSize, keyPos("content"), write("p1"), tasktree.Pos{}, setFlags(r, 0), tasktree.Pos{}, setFlags(w, unix.O_DIRECT)}, ends},
		{"no packets", values{"packet": true}, []any{pipe2(unix.O_DIRECT), getSize}, ends},
		{
			"O_DIRECT comes after bytes",
			values{"content": "x", "flags": [][]string{{"O_DIRECT"}, {"O_DIRECT"}}},
			[]any{pipe2(unix.O_NONBLOCK), getSize, keyPos("content"), write("x"), endPos(0), setFlags(r, unix.O_DIRECT), endPos(1), setFlags(w, unix.O_DIRECT)},
			ends,
		},
		{
			"what was read before",
			values{"content": "x", "read": 3, "flags": [][]string{{"O_NONBLOCK"}, {"O_NONBLOCK"}}},
			[]any{pipe2(unix.O_NONBLOCK), getSize, keyPos("content"), write("\x00\x00\x00x"), keyPos("read"), read(3)},
			ends,
		},
		{
			"owner before mode",
			values{"owner": []int{5, 6}, "mode": 0o640},
			[]any{pipe2(0), getSize, keyPos("owner"), inode("fchown", unix.SYS_FCHOWN, 5, 6), keyPos("mode"), inode("fchmod", unix.SYS_FCHMOD, 0o640)},
			ends,
		},
		{"mode 0", values{"mode": 0}, []any{pipe2(0), getSize, keyPos("mode"), inode("fchmod", unix.SYS_FCHMOD, 0)}, ends},
		{"empty content", values{"content": ""}, []any{pipe2(0), getSize}, ends},
	}
	for _, c := range [][2]int64{{1, 4096}, {4096, 4096}, {4097, 8192}, {65536, 65536}, {65537, 131072}, {1 << 31, 1 << 31}} {
		cases = append(cases, makeCase{
			fmt.Sprintf("capacity %d", c[0]),
			values{"capacity": int(c[0])},
			[]any{pipe2(0), keyPos("capacity"), setSize(c[1])},
			ends,
		})
	}
	testMake(t, "pipe", cases)
}
