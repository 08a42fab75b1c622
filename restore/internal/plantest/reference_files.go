package plantest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// moreFiles adds open files that say all that their kinds can: each to a task alone, which
// makes it if it can, and again to two tasks, for which the runner does.
func moreFiles(t testing.TB, tree *tasktree.Tree, dir string, at func() tasktree.Pos) {
	word := func(s string) tasktree.Text { return tasktree.Text{Value: s, Pos: at()} }
	number := func(n int64) tasktree.Number { return tasktree.Number{Value: n, Pos: at()} }
	yes := func() schema.Bool { return schema.Bool{Value: true, Pos: at()} }
	owner := func() kind.Owner {
		return kind.Owner{UID: number(int64(os.Geteuid())), GID: number(int64(os.Getegid()))}
	}
	const first = 100
	alone, shared := tree.Root.Children[0], tree.Root
	next := first
	add := func(name string, spec func() tasktree.Spec) {
		for _, which := range []string{"", "-2"} {
			f := &tasktree.OpenFile{Name: name + which, Pos: at(), Spec: spec()}
			tree.Files = append(tree.Files, f)
			for end := range max(1, len(f.Spec.Ends())) {
				fd := tasktree.Descriptor{FD: next, File: word(f.EndName(end)), Pos: at()}
				next++
				alone.FDs = append(alone.FDs, fd)
				if which != "" {
					shared.FDs = append(shared.FDs, fd)
				}
			}
		}
	}
	add("packets", func() tasktree.Spec {
		return &kind.Pipe{Packets: []tasktree.Text{word("p1"), word("p22")}, Packet: yes(), Capacity: number(8192), Owner: owner(), Mode: number(0o640)}
	})
	add("full", func() tasktree.Spec {
		return &kind.Pipe{Content: word("x"), Front: number(4095), Capacity: number(4096), Owner: owner(), Mode: number(0o640)}
	})
	made := 0
	fifo := func(ends ...string) *kind.Fifo {
		made++
		f := &kind.Fifo{Path: word(filepath.Join(dir, fmt.Sprintf("fifo%d", made))), Mode: number(0o600)}
		for _, access := range ends {
			f.Opens = append(f.Opens, kind.FifoEnd{Name: access, Access: word(access)})
		}
		return f
	}
	add("fifo", func() tasktree.Spec {
		f := fifo("r", "w", "rw")
		f.Content, f.Owner, f.Packet, f.Unlinked = word("abc"), owner(), yes(), yes()
		f.EndFlags = []kind.FifoFlags{{Name: "r", Flags: kind.Flags{Bits: unix.O_NONBLOCK, Pos: at()}}}
		return f
	})
	add("hup", func() tasktree.Spec {
		f := fifo("r")
		f.Content, f.Front, f.Hup, f.Capacity = word("abc"), number(5), yes(), number(8192)
		return f
	})
	there := filepath.Join(dir, "there.fifo")
	if err := unix.Mkfifo(there, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		t.Fatal(err)
	}
	add("there", func() tasktree.Spec {
		f := fifo("r", "w")
		f.Path.Value, f.Mode = there, tasktree.Number{}
		return f
	})
	regs := 0
	reg := func(bits int) *kind.Reg {
		regs++
		return &kind.Reg{Path: word(filepath.Join(dir, fmt.Sprintf("reg%d", regs))), Flags: kind.Flags{Bits: bits, Pos: at()}, Owner: owner(), Mode: number(0o640)}
	}
	add("unlinked", func() tasktree.Spec {
		r := reg(unix.O_RDONLY)
		r.Unlinked, r.Size, r.Pieces = yes(), number(10000), kind.Pieces{{Offset: 1, Data: word("a")}, {Offset: 5000, Data: word("b")}}
		r.Atime, r.Mtime, r.Offset = word("1.5"), word("2.5"), number(3)
		return r
	})
	add("linked", func() tasktree.Spec {
		r := reg(unix.O_RDWR | unix.O_CREAT)
		r.Content, r.Links = word("abc"), []tasktree.Text{word(r.Path.Value + ".link")}
		return r
	})
	add("nameless", func() tasktree.Spec {
		r := reg(unix.O_RDWR | unix.O_TMPFILE)
		r.Path.Value, r.Content = dir, word("abc")
		return r
	})
	add("folder", func() tasktree.Spec {
		r := reg(unix.O_DIRECTORY)
		r.Unlinked = yes()
		return r
	})
}
