package plantest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Reference uses every op of a plan, every kind of open file, and files that
// were there, in dir.
func Reference(t testing.TB, dir string, namespaces ...tasktree.Namespace) *tasktree.Tree {
	t.Helper()
	line := 0
	at := func() tasktree.Pos { line++; return tasktree.Pos{Line: line, Col: 1} }
	word := func(s string) tasktree.Text { return tasktree.Text{Value: s, Pos: at()} }
	flags := func(bits int) kind.Flags { return kind.Flags{Bits: bits, Pos: at()} }
	fd := func(n int, file string, cloexec bool) tasktree.Descriptor {
		return tasktree.Descriptor{FD: n, File: word(file), Pos: at(), Cloexec: cloexec}
	}
	for name, text := range map[string]string{"there": "there", "cut": "to be cut", "late": "to be cut late"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	memory := func() *kind.Memfd {
		number := func(n int64) tasktree.Number { return tasktree.Number{Value: n, Pos: at()} }
		return &kind.Memfd{
			Name: word("memory"), Size: number(1 << 20), Content: kind.Pieces{{Offset: 5000, Data: word("data")}}, Seals: flags(unix.F_SEAL_WRITE),
			Owner: kind.Owner{UID: number(int64(os.Geteuid()))}, Mode: number(0o640), Mtime: word("1769860800.5"), Offset: number(7), Flags: flags(unix.O_APPEND),
		}
	}
	tree := &tasktree.Tree{Source: filepath.Join(dir, "tree.yaml"), Dir: dir, Files: []*tasktree.OpenFile{
		{Name: "made", Pos: at(), Spec: &kind.Reg{Path: word(dir + "/made"), Flags: flags(unix.O_RDWR | unix.O_CREAT), Content: word("made")}},
		{Name: "perhaps", Pos: at(), Spec: &kind.Reg{Path: word(dir + "/there"), Flags: flags(unix.O_RDWR | unix.O_CREAT | unix.O_APPEND)}},
		{Name: "cut", Pos: at(), Spec: &kind.Reg{Path: word(dir + "/cut"), Flags: flags(unix.O_WRONLY | unix.O_TRUNC)}},
		{Name: "own", Pos: at(), Spec: &kind.Reg{Path: word(dir + "/there"), Flags: flags(unix.O_NOFOLLOW), Offset: tasktree.Number{Value: 2, Pos: at()}}},
		{Name: "mine", Pos: at(), Spec: &kind.Reg{Path: word("/dev/zero"), Offset: tasktree.Number{Value: 0, Pos: at()}}},
		{Name: "err", Pos: at(), Spec: &kind.Inherit{Key: word("stderr")}},
		{Name: "p", Pos: at(), Spec: &kind.Pipe{Content: word("shared"), Capacity: tasktree.Number{Value: 8192, Pos: at()}}},
		{Name: "q", Pos: at(), Spec: &kind.Pipe{Content: word("own"), Capacity: tasktree.Number{Value: 8192, Pos: at()}, ReadEnd: flags(unix.O_NONBLOCK)}},
		{Name: "count", Pos: at(), Spec: &kind.Eventfd{
			Counter: schema.Unsigned{Value: 1 << 40, Pos: at()}, Semaphore: schema.Bool{Value: true, Pos: at()}, Flags: flags(unix.O_APPEND | unix.O_NONBLOCK),
		}},
		{Name: "alone", Pos: at(), Spec: &kind.Eventfd{Counter: schema.Unsigned{Value: 1<<64 - 2, Pos: at()}, Flags: flags(unix.O_NOATIME)}},
		{Name: "signals", Pos: at(), Spec: &kind.Signalfd{Signals: flags(1 << (unix.SIGUSR1 - 1)), Flags: flags(unix.O_APPEND)}},
		{Name: "pair", Pos: at(), Spec: &kind.Unix{Pair: word("stream"), Socket: kind.Socket{
			Queue: [2][]kind.Item{{{Pos: at(), Data: word("with files"), Files: []tasktree.Text{word("made"), word("pair.a")}}, {Pos: at(), Data: word("more")}}},
			Options: [2]kind.Options{{
				Numbers: map[string]schema.Number{"SO_PASSCRED": {Value: 1, Pos: at()}, "SO_SNDBUF": {Value: 8192, Pos: at()}, "SO_RCVBUF": {Value: 8192, Pos: at()}, "SO_LOCK_FILTER": {Value: 1, Pos: at()}},
				Times:   map[string]schema.Time{"SO_RCVTIMEO": {Value: time.Second, Pos: at()}, "SO_LINGER": {Value: time.Second, Pos: at()}},
			}},
			Filter:   [2][][]schema.Number{{{{Value: 6, Pos: at()}, {}, {}, {Value: 1 << 16}}}},
			Shutdown: [2]schema.Text{1: word("wr")}, Flags: [2]kind.Flags{flags(unix.O_NONBLOCK)},
			Owner: [2]kind.Owner{{UID: tasktree.Number{Value: int64(os.Geteuid()), Pos: at()}}},
		}}},
		{Name: "listener", Pos: at(), Spec: &kind.Unix{Listen: word(dir + "/listener"), Mode: tasktree.Number{Value: 0o640, Pos: at()}, Socket: kind.Socket{
			Owner: [2]kind.Owner{{UID: tasktree.Number{Value: int64(os.Geteuid()), Pos: at()}}},
		}}},
		{Name: "accepted", Pos: at(), Spec: &kind.Unix{Via: word("listener")}},
		{Name: "auto", Pos: at(), Spec: &kind.Unix{Listen: word("autobind")}},
		{Name: "waits", Pos: at(), Spec: &kind.Unix{Via: word("auto"), Pending: schema.Bool{Value: true, Pos: at()}, Socket: kind.Socket{Queue: [2][]kind.Item{1: {{Pos: at(), Data: word("data")}}}}}},
		{Name: "lost", Pos: at(), Spec: &kind.Unix{Name: word(dir + "/lost")}},
		{Name: "letters", Pos: at(), Spec: &kind.Unix{Bind: word("letters"), Connect: word(dir + "/gone"), Deleted: schema.Bool{Value: true, Pos: at()}, Socket: kind.Socket{
			Queue: [2][]kind.Item{{{Pos: at(), Data: word("data"), From: word(dir + "/sender")}}},
		}}},
		{Name: "epoll", Pos: at(), Spec: &Watch{
			Targets: []Target{{File: word("box"), FD: tasktree.Number{Value: 500, Pos: at()}, Data: 1}},
			Kept:    tasktree.Number{Value: 3, Pos: at()}, Until: recipe.UntilReady,
		}},
		{Name: "gone", Pos: at(), Spec: &Gone{Status: tasktree.Number{Value: 7, Pos: at()}, Bench: recipe.Bench{Cwd: dir}}},
		{Name: "named", Pos: at(), Spec: &Named{Dir: word(dir), Name: word("name")}},
		{Name: "memory", Pos: at(), Spec: memory()},
		{Name: "again", Pos: at(), Spec: &kind.Reopen{File: word("memory"), Flags: flags(unix.O_RDWR | unix.O_APPEND), Offset: tasktree.Number{Value: 3, Pos: at()}}},
		{Name: "both", Pos: at(), Spec: &kind.Reopen{File: word("p.w"), Flags: flags(unix.O_RDWR | unix.O_DIRECT)}},
		{Name: "vault", Pos: at(), Spec: &Vault{Text: word("mapped")}},
		{Name: "box", Pos: at(), Spec: &Mailbox{Path: word(dir + "/box"), Text: word("letter"), Holds: word("made"), Owner: word("below")}},
	}}
	tree.Root = &tasktree.Task{Name: "root", Pos: at(), FDs: []tasktree.Descriptor{
		fd(0, "p.r", false), fd(1, "p.w", true), fd(2, "err", false), fd(7, "made", true), fd(40, "cut", false), fd(41, "box", false),
		fd(42, "epoll", false), fd(43, "gone", true), fd(44, "named", false), fd(45, "count", false), fd(46, "signals", false), fd(47, "vault", false), fd(48, "memory", false), fd(49, "again", false), fd(50, "pair.a", false),
		fd(51, "listener", false), fd(52, "accepted.server", false), fd(53, "waits.client", false), fd(54, "lost.client", false), fd(55, "letters", false),
	}, Children: []*tasktree.Task{
		{Name: "holds", Pos: at(), Cwd: word(dir), FDs: []tasktree.Descriptor{
			fd(1, "p.r", false), fd(0, "p.w", false), fd(3, "perhaps", true), fd(4, "made", false), fd(9, "mine", false), fd(5, "q.r", false), fd(6, "q.w", true), fd(30, "own", false), fd(31, "alone", false), fd(11, "count", true), fd(12, "signals", true), fd(13, "memory", true), fd(14, "both", true),
		}},
		{
			Name: "runs", Pos: at(), Run: []tasktree.Text{word("sleep"), word("1000")}, FDs: []tasktree.Descriptor{fd(3, "p.w", true), fd(2, "err", false), fd(0, "perhaps", false)},
			Children: []*tasktree.Task{{Name: "below", Pos: at(), FDs: []tasktree.Descriptor{fd(0, "made", false)}}},
		},
		{Name: "shares", Pos: at(), SharesFiles: word("holds")},
		{Name: "second", Pos: at(), Attributes: Steps(first("root"))}, // with the next one enough for a helper
		{Name: "third", Pos: at(), Attributes: Steps(then("second", "ends")), Children: []*tasktree.Task{
			{Name: "ends", Pos: at(), Attributes: Steps(func(w recipe.Wirer) { w.Leave(LeaveCall(EndStatus)) })},
		}},
	}}
	for _, n := range namespaces {
		tree.Namespaces = append(tree.Namespaces, tasktree.NamespaceItem{Name: n, Pos: at()})
	}
	if tree.HasNamespace(tasktree.NamespacePID) {
		tree.Root.Children[0].PID = tasktree.Number{Value: 4711, Pos: at()}
	}
	moreFiles(t, tree, dir, at)
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}
