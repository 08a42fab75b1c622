package kind_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// TestRegMakeDetailed holds the recipe of a file of which more is said than open(2) can do.
func TestRegMakeDetailed(t *testing.T) {
	const f = firstRef
	path := keyPos("path")
	fd := func(r recipe.Ref) recipe.Arg { return recipe.Arg{Kind: recipe.ArgFD, Ref: r} }
	name := func(s string) recipe.Arg { return recipe.Arg{Kind: recipe.ArgData, Data: []byte(s + "\x00")} }
	n := func(n int64) recipe.Arg { return recipe.Arg{Int: n} }
	call := func(name string, nr uintptr, args ...recipe.Arg) recipe.Call {
		return recipe.Call{Name: name, Nr: nr, Effect: recipe.Nothing, Args: args}
	}
	create := func(path string, flags int) recipe.Open {
		return recipe.Open{Path: path, Flags: flags, Refuse: recipe.TypeFIFO | recipe.TypeSocket, Create: true, Must: true, Mode: 0o600}
	}
	pwrite := func(w recipe.Ref, s string, at int64) recipe.Call {
		c := call("pwrite64", unix.SYS_PWRITE64, fd(w), recipe.Arg{Kind: recipe.ArgData, Data: []byte(s)}, n(int64(len(s))), n(at))
		c.Want, c.HasWant = int64(len(s)), true
		return c
	}
	unlink := func(path string, flags int64) recipe.Call {
		return call("unlinkat", unix.SYS_UNLINKAT, n(unix.AT_FDCWD), name(path), n(flags))
	}
	chmod := func(mode int64) recipe.Call { return call("fchmod", unix.SYS_FCHMOD, fd(f), n(mode)) }
	closes := recipe.Call{Name: "close", Nr: unix.SYS_CLOSE, Effect: recipe.Closes, Args: []recipe.Arg{fd(f + 1)}}
	testMake(t, "reg", []makeCase{
		{
			"unlinked, with holes, an owner and a mode",
			values{"path": "/x", "flags": []string{"O_RDWR"}, "unlinked": true, "size": 100, "content": map[int64]string{50: "b", 0: "a"}, "owner": []int{5, 6}, "mode": 0o4755, "offset": 3},
			[]any{
				path, create("/x", unix.O_RDWR), keyPos("size"), call("ftruncate", unix.SYS_FTRUNCATE, fd(f), n(100)),
				keyPos("content"), pwrite(f, "a", 0), keyPos("content"), pwrite(f, "b", 50), keyPos("unlinked"), unlink("/x", 0),
				keyPos("offset"),
				recipe.Call{Name: "lseek", Nr: unix.SYS_LSEEK, Effect: recipe.Nothing, Args: []recipe.Arg{fd(f), n(3), n(unix.SEEK_SET)}, Want: 3, HasWant: true},
				keyPos("owner"), call("fchown", unix.SYS_FCHOWN, fd(f), n(5), n(6)), keyPos("mode"), chmod(0o4755),
			},
			[]recipe.Ref{f},
		},
		{
			"one that is not written by its own open file",
			values{"path": "/x", "flags": []string{"O_RDONLY", "O_CREAT"}, "content": "abc", "mode": 0, "links": []string{"y", "/z"}},
			[]any{
				path, create("/x", unix.O_RDONLY),
				recipe.Reopen{Of: f, Flags: unix.O_WRONLY},
				keyPos("content"), pwrite(f+1, "abc", 0), closes,
				tasktree.Pos{Line: line["links"], Col: 2},
				call("linkat", unix.SYS_LINKAT, n(unix.AT_FDCWD), name("/x"), n(unix.AT_FDCWD), name("/dir/y"), n(0)), undone("/dir/y"),
				tasktree.Pos{Line: line["links"], Col: 3},
				call("linkat", unix.SYS_LINKAT, n(unix.AT_FDCWD), name("/x"), n(unix.AT_FDCWD), name("/z"), n(0)), undone("/z"),
				keyPos("mode"), chmod(0),
			},
			[]recipe.Ref{f},
		},
		{
			"without a name from the start",
			values{"path": "/x", "flags": []string{"O_WRONLY", "O_TMPFILE", "O_EXCL"}, "mtime": "1.5"},
			[]any{
				path, create("/x", unix.O_WRONLY|unix.O_TMPFILE|unix.O_EXCL), path, chmod(0o644),
				keyPos("mtime"), call("utimensat", unix.SYS_UTIMENSAT, fd(f), n(0), recipe.Arg{
					Kind: recipe.ArgData, Data: []byte("\x00\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\x3f\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x65\xcd\x1d\x00\x00\x00\x00"),
				}, n(0)),
			},
			[]recipe.Ref{f},
		},
		{
			"a folder",
			values{"path": "/x", "flags": []string{"O_DIRECTORY"}, "unlinked": true},
			[]any{
				path, call("mkdirat", unix.SYS_MKDIRAT, n(unix.AT_FDCWD), name("/x"), n(0o700)), undone("/x"),
				recipe.Open{Path: "/x", Flags: unix.O_DIRECTORY, Refuse: recipe.TypeFIFO | recipe.TypeSocket},
				keyPos("unlinked"), unlink("/x", unix.AT_REMOVEDIR), path, chmod(0o755),
			},
			[]recipe.Ref{f},
		},
	})
	with := func(keys ...any) values {
		v := values{"path": "/x", "flags": []string{"O_CREAT"}}
		for i := 0; i < len(keys); i += 2 {
			v[keys[i].(string)] = keys[i+1]
		}
		return v
	}
	testCheck(t, "reg", []checkCase{
		{"all", with("size", 5, "content", map[int64]string{1: "x"}, "owner", []int{1}, "atime", "0", "mtime", "0", "links", []string{"y"}), nil},
		{
			"of a file that is there", with("flags", []string{}, "size", 5, "owner", []int{1}, "atime", "0"),
			[]string{
				"12:1: size: size is for a file that the restore makes; add O_CREAT to flags or unlinked: true, or write what must be there under expect",
				"15:1: owner: owner is for a file that the restore makes; add O_CREAT to flags or unlinked: true, or write what must be there under expect",
				"16:1: atime: atime is for a file that the restore makes; add O_CREAT to flags or unlinked: true, or write what must be there under expect",
			},
		},
		{"content beyond the size", with("size", 1, "content", "ab"), []string{"12:1: size: the content ends at 2, behind the size of 1"}},
		{"no time", with("mtime", "soon"), []string{`17:1: mtime: "soon" is no time; write 2026-01-31T12:00:00Z, or seconds since 1970 such as 1769860800.5`}},
		{"a place that is gone", with("flags", []string{"O_PATH"}, "unlinked", true), []string{"22:1: unlinked: O_PATH opens a place, and this file has none; drop O_PATH or unlinked"}},
		{"no name twice", with("flags", []string{"O_RDWR", "O_TMPFILE"}, "unlinked", true, "links", []string{"y"}), []string{
			"22:1: unlinked: a file of O_TMPFILE never had a path; drop unlinked", "24:2: links: a file of O_TMPFILE has no path; drop links",
		}},
		{"content of a folder", with("flags", []string{"O_DIRECTORY"}, "unlinked", true, "size", 1), []string{"22:1: unlinked: a folder has no content, no size and one path; drop these keys, or O_DIRECTORY"}},
		{"position of a device", values{"path": "/dev/null", "offset": 7}, []string{"4:1: offset: the position of /dev/null is always 0; drop offset"}},
	})
}

// TestUnlinkedTwice holds that one path cannot be two files that are gone.
func TestUnlinkedTwice(t *testing.T) {
	tree := &tasktree.Tree{Dir: "/dir", Root: &tasktree.Task{Name: "t"}}
	for name, path := range map[string]string{"a": "x", "b": "/dir/x", "c": "/dir/y"} {
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: name, Spec: decode(t, "reg", values{"path": path, "unlinked": true})})
	}
	for range 2 { // the second check knows nothing of the first
		if found := tree.Check(); len(found) != 1 || !strings.Contains(found[0].Msg, "is unlinked as") {
			t.Errorf("%v, want one problem", found)
		}
	}
}

// TestRegMade holds what is compared of a file that was made, and of one that may have
// been there.
func TestRegMade(t *testing.T) {
	for _, c := range []struct {
		name string
		said values
		want []string
	}{
		{"there", values{"path": "/x", "mode": 0o600}, []string{`path "/x"`, "flags [O_RDONLY]", "offset 0"}},
		{"perhaps", values{"path": "/x", "flags": []string{"O_CREAT"}, "mode": 0o600}, []string{`path "/x"`, "flags [O_RDONLY]", "offset 0"}},
		{"made", values{"path": "/x", "flags": []string{"O_CREAT"}, "content": "abc"}, []string{`path "/x"`, "flags [O_RDONLY]", "mode 0644", "offset 0", "size 3"}},
		{
			"gone",
			values{"path": "/x", "flags": []string{"O_RDWR"}, "unlinked": true, "size": 9, "mode": 0o600, "owner": []int{5}, "mtime": "1.5"},
			[]string{`path "/x (deleted)"`, "flags [O_RDWR]", "mode 0600", "offset 0", "size 9", "owner[0] 5", `mtime "1970-01-01T00:00:01.5Z"`, "unlinked true"},
		},
		{"a folder", values{"path": "/x", "flags": []string{"O_DIRECTORY"}, "unlinked": true}, []string{`path "/x (deleted)"`, "flags [O_DIRECTORY]", "mode 0755", "offset 0", "unlinked true"}},
	} {
		var got []string
		for _, v := range schema.Values(decode(t, "reg", c.said).(kind.Readable).Made(&tasktree.Tree{})) {
			got = append(got, v.Path+" "+v.Text)
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
