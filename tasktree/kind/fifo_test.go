package kind_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// TestFifoMake holds the order in which the ends of a FIFO are opened, which decides what
// a reader sees when no writer is left.
func TestFifoMake(t *testing.T) {
	const reader = firstRef
	path := keyPos("path")
	zero := func(s string) recipe.Arg { return recipe.Arg{Kind: recipe.ArgData, Data: []byte(s + "\x00")} }
	fd := func(r recipe.Ref) recipe.Arg { return recipe.Arg{Kind: recipe.ArgFD, Ref: r} }
	call := func(name string, nr uintptr, effect recipe.Effect, args ...recipe.Arg) recipe.Call {
		return recipe.Call{Name: name, Nr: nr, Effect: effect, Args: args}
	}
	mknod := call("mknodat", unix.SYS_MKNODAT, recipe.Nothing, recipe.Arg{Int: unix.AT_FDCWD}, zero("/dir/f"), recipe.Arg{Int: unix.S_IFIFO | 0o600}, recipe.Arg{Int: 0})
	look := recipe.Open{Path: "/dir/f", Flags: unix.O_RDONLY | unix.O_NONBLOCK, Refuse: recipe.TypeNoFIFO}
	again := func(access int) recipe.Reopen { return recipe.Reopen{Of: reader, Flags: access | unix.O_NONBLOCK} }
	closes := func(r recipe.Ref) recipe.Call { return call("close", unix.SYS_CLOSE, recipe.Closes, fd(r)) }
	size := recipe.Call{
		Name: "fcntl(F_GETPIPE_SZ)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing, When: recipe.PipesLimited, Want: 16 * int64(unix.Getpagesize()), HasWant: true,
		Args: []recipe.Arg{fd(reader + 1), {Int: unix.F_GETPIPE_SZ}},
	}
	write := func(s string) recipe.Call {
		n := int64(len(s))
		return recipe.Call{
			Name: "write", Nr: unix.SYS_WRITE, Effect: recipe.Nothing, Want: n, HasWant: true,
			Args: []recipe.Arg{fd(reader + 1), {Kind: recipe.ArgData, Data: []byte(s)}, {Int: n}},
		}
	}
	mode := func(r recipe.Ref, bits int64) recipe.Call {
		return call("fchmod", unix.SYS_FCHMOD, recipe.Nothing, fd(r), recipe.Arg{Int: bits})
	}
	poll := recipe.Call{
		Name: "ppoll", Nr: unix.SYS_PPOLL, Effect: recipe.Nothing, HasWant: true,
		Args: []recipe.Arg{
			{Kind: recipe.ArgStruct, Parts: []recipe.Arg{fd(reader), {Kind: recipe.ArgData, Data: []byte("\x01\x00\x00\x00")}}},
			{Int: 1},
			{Kind: recipe.ArgData, Data: make([]byte, 16)},
			{},
			{},
		},
	}
	item := func(i int) tasktree.Pos { return tasktree.Pos{Line: line["ends"], Col: 2 + i} }
	var none tasktree.Pos
	testMake(t, "fifo", []makeCase{
		{
			"one that is there, writers last",
			values{"path": "f", "ends": []string{"w", "r"}},
			[]any{path, look, poll, item(1), again(unix.O_RDONLY), item(0), again(unix.O_WRONLY), closes(reader), none, setFlagsCall(reader+2, 0), none, setFlagsCall(reader+1, 0)},
			[]recipe.Ref{reader + 2, reader + 1},
		},
		{
			"a reader that never had a writer",
			values{"path": "f", "ends": []string{"r"}, "content": "abc", "flags": map[string][]string{"r": {"O_NONBLOCK"}}},
			[]any{
				path, mknod, undone("/dir/f"), look, again(unix.O_WRONLY), size, keyPos("content"), write("abc"), closes(reader + 1),
				item(0), again(unix.O_RDONLY), closes(reader), path, mode(reader+2, 0o644),
			},
			[]recipe.Ref{reader + 2},
		},
		{
			"one that had",
			values{"path": "f", "ends": map[string]string{"in": "r"}, "hup": true, "mode": 0},
			[]any{
				path, mknod, undone("/dir/f"), look, again(unix.O_WRONLY), size,
				keyPos("ends"), again(unix.O_RDONLY), closes(reader + 1), closes(reader), keyPos("mode"), mode(reader+2, 0), none, setFlagsCall(reader+2, 0),
			},
			[]recipe.Ref{reader + 2},
		},
		{
			"packets, without a path",
			values{"path": "f", "ends": []string{"rw"}, "packet": true, "unlinked": true, "content": []string{"a"}, "owner": []int{5, 6}},
			[]any{
				path, mknod, undone("/dir/f"), look, again(unix.O_WRONLY), size, keyPos("packet"), setFlagsCall(reader+1, unix.O_DIRECT|unix.O_NONBLOCK),
				tasktree.Pos{Line: line["content"], Col: 2},
				write("a"), closes(reader + 1), item(0), again(unix.O_RDWR),
				keyPos("unlinked"), call("unlinkat", unix.SYS_UNLINKAT, recipe.Nothing, recipe.Arg{Int: unix.AT_FDCWD}, zero("/dir/f"), recipe.Arg{}),
				closes(reader),
				keyPos("owner"), call("fchown", unix.SYS_FCHOWN, recipe.Nothing, fd(reader+2), recipe.Arg{Int: 5}, recipe.Arg{Int: 6}), path, mode(reader+2, 0o644),
				none, setFlagsCall(reader+2, unix.O_DIRECT),
			},
			[]recipe.Ref{reader + 2},
		},
	})
}

// TestReadFifo holds what is said of a live end.
func TestReadFifo(t *testing.T) {
	end := fakeEnd{link: "/x/f (deleted)", mode: unix.S_IFIFO, flags: unix.O_RDONLY | unix.O_NONBLOCK, size: 8192, events: unix.POLLHUP, stat: unix.Statx_t{Mode: unix.S_IFIFO | 0o640, Uid: 5, Gid: 6}}
	writes := end
	writes.flags, writes.waiting = unix.O_WRONLY|unix.O_DIRECT, 3
	refused := end
	refused.copyErr = unix.EPERM
	whole := func(access, flags string, more ...string) []string {
		said := append([]string{`path "/x/f (deleted)"`, "ends." + access + ` "` + access + `"`}, more...)
		return append(append(said, "owner[0] 5", "owner[1] 6", "mode 0640"), flags)
	}
	testRead(t, []readCase{
		{
			"a reader", &kind.Fifo{}, end,
			[]string{`path "/x/f (deleted)"`, `ends.r "r"`, "capacity 8192", `content ""`, "read 0", "owner[0] 5", "owner[1] 6", "mode 0640", "hup true", "flags.r [O_NONBLOCK]"},
			nil,
		},
		{
			"a writer", &kind.Fifo{}, writes, whole("w", "flags.w [O_DIRECT]", "capacity 8192", "packet true"),
			[]string{"content: 3 bytes wait in the pipe, and no task has its read end, always", "read: no task has its read end, always"},
		},
		{
			"no copy", &kind.Fifo{}, refused, whole("r", "flags.r [O_NONBLOCK]"),
			[]string{"capacity: operation not permitted", "content: operation not permitted", "read: operation not permitted", "hup: operation not permitted"},
		},
	})
}

// TestFifoMadeEnd holds that an end is compared with what it can show.
func TestFifoMadeEnd(t *testing.T) {
	f := decode(t, "fifo", values{"path": "f", "ends": map[string]string{"in": "r", "out": "w"}, "packet": true, "mode": 0o600}).(*kind.Fifo)
	for end, want := range [][]string{
		{`path "/dir/f"`, `ends.r "r"`, `content ""`, "mode 0600", "flags.r []"},
		{`ends.w "w"`, "packet true", "flags.w [O_DIRECT]"},
	} {
		var got []string
		for _, v := range schema.Values(f.MadeEnd(&tasktree.Tree{Dir: "/dir"}, end, end == 0)) {
			got = append(got, v.Path+" "+v.Text)
		}
		if len(got) != len(want) {
			t.Errorf("end %d: %q, want %q", end, got, want)
		}
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("end %d: %q, want %q", end, got[i], want[i])
			}
		}
	}
}
