package kind_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

func TestMemfdMake(t *testing.T) {
	made := []recipe.Ref{firstRef}
	fd := recipe.Arg{Kind: recipe.ArgFD, Ref: firstRef}
	create := func(name string, flags int64) fdCall {
		return fdCall{recipe.Call{Name: "memfd_create", Nr: unix.SYS_MEMFD_CREATE, Args: []recipe.Arg{{Kind: recipe.ArgData, Data: []byte(name + "\x00")}, {Int: flags | unix.MFD_CLOEXEC}}}}
	}
	call := func(name string, nr uintptr, args ...recipe.Arg) recipe.Call {
		return recipe.Call{Name: name, Nr: nr, Effect: recipe.Nothing, Args: append([]recipe.Arg{fd}, args...)}
	}
	pwrite := func(text string, at int64) recipe.Call {
		c := call("pwrite64", unix.SYS_PWRITE64, recipe.Arg{Kind: recipe.ArgData, Data: []byte(text)}, recipe.Int(int64(len(text))), recipe.Int(at))
		c.Want, c.HasWant = int64(len(text)), true
		return c
	}
	seals := func(bits int64) recipe.Call {
		return call("fcntl(F_ADD_SEALS)", unix.SYS_FCNTL, recipe.Int(unix.F_ADD_SEALS), recipe.Int(bits))
	}
	lseek := call("lseek", unix.SYS_LSEEK, recipe.Int(3), recipe.Int(unix.SEEK_SET))
	lseek.Want, lseek.HasWant = 3, true
	times := []byte("\x00\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\x3f\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x65\xcd\x1d\x00\x00\x00\x00")
	testMake(t, "memfd", []makeCase{
		{"plain", values{}, []any{create("", 0)}, made},
		{"a text", values{"name": "a b", "content": "text"}, []any{create("a b", 0), keyPos("content"), pwrite("text", 0)}, made},
		{
			"pieces by offset",
			values{"size": 100, "content": map[int64]string{9: "x", 50: "", 20: "y"}},
			[]any{create("", 0), keyPos("size"), call("ftruncate", unix.SYS_FTRUNCATE, recipe.Int(100)), keyPos("content"), pwrite("x", 9), keyPos("content"), pwrite("y", 20)},
			made,
		},
		{"it can be sealed", values{"seals": []string{}}, []any{create("", unix.MFD_ALLOW_SEALING)}, made},
		{"seals", values{"seals": []string{"F_SEAL_GROW", "F_SEAL_SEAL"}}, []any{create("", unix.MFD_ALLOW_SEALING), keyPos("seals"), seals(unix.F_SEAL_GROW | unix.F_SEAL_SEAL)}, made},
		{
			"all the rest, seals last",
			values{"owner": []int{7, 8}, "mode": 0o640, "flags": []string{"O_APPEND"}, "offset": 3, "mtime": "1.5", "seals": []string{"F_SEAL_WRITE"}},
			[]any{
				create("", unix.MFD_ALLOW_SEALING),
				keyPos("owner"), call("fchown", unix.SYS_FCHOWN, recipe.Int(7), recipe.Int(8)),
				keyPos("mode"), call("fchmod", unix.SYS_FCHMOD, recipe.Int(0o640)),
				keyPos("flags"), setFlagsCall(firstRef, unix.O_APPEND),
				keyPos("offset"), lseek,
				keyPos("mtime"), call("utimensat", unix.SYS_UTIMENSAT, recipe.Int(0), recipe.Arg{Kind: recipe.ArgData, Data: times}, recipe.Int(0)),
				keyPos("seals"), seals(unix.F_SEAL_WRITE),
			},
			made,
		},
		{"a user alone", values{"owner": []int{7}}, []any{create("", 0), keyPos("owner"), call("fchown", unix.SYS_FCHOWN, recipe.Int(7), recipe.Int(-1))}, made},
		{
			"huge pages",
			values{"size": 2 << 20, "hugetlb": 2 << 20, "content": "text"},
			[]any{
				keyPos("hugetlb"), create("", unix.MFD_HUGETLB|21<<26), keyPos("size"), call("ftruncate", unix.SYS_FTRUNCATE, recipe.Int(2<<20)),
				keyPos("content"),
				recipe.Mapped{To: firstRef, Data: []byte("text"), Page: 2 << 20},
			},
			made,
		},
		{
			"never to be executed, where the kernel does not know that",
			values{"seals": []string{"F_SEAL_EXEC"}},
			[]any{create("", unix.MFD_ALLOW_SEALING), keyPos("seals"), call("fchmod", unix.SYS_FCHMOD, recipe.Int(0o666)), keyPos("seals"), seals(unix.F_SEAL_EXEC)},
			made,
		},
	}, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Hints" }, cmp.Ignore()))
	for _, c := range []struct {
		said  values
		flags int64
	}{
		{values{}, unix.MFD_EXEC},
		{values{"mode": 0o600}, unix.MFD_EXEC},
		{values{"seals": []string{"F_SEAL_EXEC"}}, unix.MFD_ALLOW_SEALING | unix.MFD_NOEXEC_SEAL},
		{values{"seals": []string{"F_SEAL_EXEC"}, "mode": 0o640}, unix.MFD_ALLOW_SEALING | unix.MFD_NOEXEC_SEAL},
		{values{"seals": []string{"F_SEAL_EXEC"}, "mode": 0o700}, unix.MFD_ALLOW_SEALING | unix.MFD_EXEC},
	} {
		m := &recorder{has: map[recipe.Condition]bool{recipe.ExecSealed: true}}
		m.phases(decode(t, "memfd", c.said), &tasktree.Tree{})
		got, ok := m.steps[0].(fdCall)
		if !ok || got.Call.Args[1].Int != c.flags|unix.MFD_CLOEXEC {
			t.Errorf("%v: %+v, want the flags %#x", c.said, m.steps[0], c.flags)
		}
	}
}

// TestMemfdNeeds holds what a host must have.
func TestMemfdNeeds(t *testing.T) {
	for _, c := range []struct {
		name string
		said values
		want []recipe.Need
	}{
		{"nothing", values{"content": "x"}, nil},
		{"the seal", values{"seals": []string{"F_SEAL_EXEC"}}, []recipe.Need{{What: recipe.SealExec, Pos: keyPos("seals")}}},
		{"only that there are such pages", values{"hugetlb": 2 << 20, "size": 8 << 20}, []recipe.Need{{What: recipe.HugePages, Pos: keyPos("hugetlb"), Size: 2 << 20}}},
		{
			"the pages that hold something",
			values{"hugetlb": 2 << 20, "size": 16 << 20, "content": map[int64]string{0: "x", 9: "y", 4<<20 - 1: "across", 15 << 20: "z"}},
			[]recipe.Need{{What: recipe.HugePages, Pos: keyPos("hugetlb"), Size: 2 << 20, N: 4}},
		},
	} {
		if diff := cmp.Diff(c.want, decode(t, "memfd", c.said).(tasktree.Needy).Host(&tasktree.Tree{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestMadeContent holds that a content has one form, whatever it was written as, with the
// same bytes and the same holes.
func TestMadeContent(t *testing.T) {
	tree := &tasktree.Tree{}
	page := int64(os.Getpagesize())
	flat := func(m *kind.Memfd) (text string, held map[int64]bool) {
		b := make([]byte, m.Size.Value)
		held = map[int64]bool{}
		for _, a := range m.Content {
			copy(b[a.Offset:], a.Data.Value)
			for p := a.Offset / page; len(a.Data.Value) > 0 && p*page < a.Offset+int64(len(a.Data.Value)); p++ {
				held[p] = true
			}
		}
		return string(b), held
	}
	rapid.Check(t, func(rt *rapid.T) {
		said := &kind.Memfd{}
		at := int64(0)
		for range rapid.IntRange(0, 5).Draw(rt, "pieces") {
			at += rapid.Int64Range(0, 3*page).Draw(rt, "hole")
			data := rapid.SampledFrom([]string{"", "x", "\x00", "ab\x00c", string(make([]byte, 40)), "x" + string(make([]byte, 15)) + "y", "x" + string(make([]byte, 16)) + "y"}).Draw(rt, "data")
			said.Content = append(said.Content, kind.Piece{Offset: at, Data: tasktree.Text{Value: data}})
			at += int64(len(data))
		}
		said.Size.Value = at + rapid.Int64Range(0, 2*page).Draw(rt, "room")
		once := said.Made(tree).(*kind.Memfd)
		if diff := schema.Compare(once, once.Made(tree)); len(diff) > 0 {
			rt.Fatalf("another form: %+v", diff)
		}
		text, _ := flat(said)
		if got, _ := flat(once); got != text {
			rt.Fatalf("other bytes: %q, want %q", got, text)
		}
		// What a file system shows is whole pages.
		_, held := flat(said)
		var parts []kind.LiveExtent
		for p := range (said.Size.Value + page - 1) / page {
			if !held[p] {
				continue
			}
			data := []byte(text[p*page : min((p+1)*page, said.Size.Value)])
			if n := len(parts); n > 0 && parts[n-1].Offset+int64(len(parts[n-1].Data)) == p*page {
				parts[n-1].Data = append(parts[n-1].Data, data...)
			} else {
				parts = append(parts, kind.LiveExtent{Offset: p * page, Data: data})
			}
		}
		var read kind.Memfd
		read.Read(fakeLive{ends: []kind.LiveEnd{fakeEnd{link: "/memfd: (deleted)", memory: true, parts: parts, stat: unix.Statx_t{Size: uint64(said.Size.Value)}}}})
		got, want := read.Content, once.Content
		for _, p := range []kind.Pieces{got, want} {
			for i := range p {
				p[i].Data = tasktree.Text{Value: p[i].Data.Value}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("read as another content (-want +got):\n%s", diff)
		}
	})
}

// TestReadMemfd holds what is said of a live one, and what is not.
func TestReadMemfd(t *testing.T) {
	at := unix.StatxTimestamp{Sec: 1769860800, Nsec: 5e8}
	end := fakeEnd{
		link: "/memfd:a (deleted) (deleted)", flags: unix.O_RDWR | unix.O_APPEND, offset: 7, memory: true, seals: unix.F_SEAL_WRITE,
		stat: unix.Statx_t{Size: 100, Mode: unix.S_IFREG | 0o4750, Uid: 7, Gid: 8, Atime: at, Mtime: unix.StatxTimestamp{Sec: -1}}, mode: unix.S_IFREG,
		parts: []kind.LiveExtent{{Data: []byte("\x00text\x00")}},
	}
	said := []string{
		`name "a (deleted)"`, "size 100", `content.1 "text"`, "seals [F_SEAL_WRITE]", "hugetlb 0", "owner[0] 7", "owner[1] 8", "mode 04750",
		`atime "2026-01-31T12:00:00.5Z"`, `mtime "1969-12-31T23:59:59Z"`, "offset 7", "flags [O_APPEND]",
	}
	refused, broken, huge := end, end, end
	refused.copyErr, broken.err, huge.huge = unix.EPERM, unix.EIO, 2<<20
	without := append(append([]string{}, said[:2]...), said[4:]...)
	of := append([]string{}, said...)
	of[4] = "hugetlb 2097152"
	testRead(t, []readCase{
		{"all", &kind.Memfd{}, end, said, nil},
		{"of huge pages", &kind.Memfd{}, huge, of, nil},
		{"no copy", &kind.Memfd{}, refused, without, []string{"seals: operation not permitted", "content: operation not permitted"}},
		{"calls fail", &kind.Memfd{}, broken, without, []string{"seals: fcntl(F_GET_SEALS): input/output error", "content: input/output error"}},
	})
}
