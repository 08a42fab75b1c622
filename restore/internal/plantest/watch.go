package plantest

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Watch is a kind of open file for tests: an epoll, which a bench registers targets in by
// numbers that no task needs to have.
type Watch struct {
	Targets []Target
	Kept    tasktree.Number // of an eventfd that is a target as long as it is kept, 0: there is none
	Until   recipe.Until    // how long that is
	Bench   recipe.Bench    // that registers them
}

// Target is what a Watch watches.
type Target struct {
	File tasktree.Text // an open file without ends
	FD   tasktree.Number
	Data uint64
}

var _ interface {
	tasktree.Spec
	tasktree.Shaped
} = (*Watch)(nil)

// Fields implements [schema.Fielder].
func (w *Watch) Fields(f schema.Fields) {
	for i := range w.Targets {
		f.Ref("file", &w.Targets[i].File, schema.ToFile, schema.Help{})
	}
}

// Kind implements [tasktree.Spec].
func (*Watch) Kind() string { return "watch" }

// Ends implements [tasktree.Spec].
func (*Watch) Ends() []string { return nil }

// Check implements [tasktree.Spec].
func (*Watch) Check(*tasktree.Tree, func(tasktree.Problem)) {}

// Traits implements [tasktree.Spec].
func (*Watch) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{ByRunner: true} }

// Make implements [tasktree.Spec].
func (w *Watch) Make(_ *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	epoll := m.FD(recipe.Call{Name: "epoll_create1", Nr: unix.SYS_EPOLL_CREATE1, Args: []recipe.Arg{recipe.Int(unix.EPOLL_CLOEXEC)}})
	if w.Kept.Value != 0 {
		m.At(w.Kept.Pos)
		kept := m.FD(recipe.Call{Name: "eventfd2", Nr: unix.SYS_EVENTFD2, Args: []recipe.Arg{recipe.Int(0), recipe.Int(unix.EFD_CLOEXEC)}})
		m.Keep(kept, w.Until)
		m.Bench(w.Bench, func(b recipe.BenchMaker) { watch(b, epoll, kept, int(w.Kept.Value), 0) })
	}
	return []recipe.Ref{epoll}
}

// Shape implements [tasktree.Shaped].
func (w *Watch) Shape(_ *tasktree.Tree, m recipe.Maker) {
	for _, t := range w.Targets {
		target := m.Use(t.File.Value, 0)
		m.Bench(w.Bench, func(b recipe.BenchMaker) {
			b.At(t.FD.Pos)
			watch(b, m.Own(0), target, int(t.FD.Value), t.Data)
		})
	}
}

// watch registers a target by a number.
func watch(b recipe.BenchMaker, epoll, target recipe.Ref, number int, data uint64) {
	at := b.Put(target, number)
	const packed = 12 // bytes of a struct epoll_event, which has a gap on some machines
	event := binary.NativeEndian.AppendUint32(nil, unix.EPOLLIN)
	event = append(event, make([]byte, binary.Size(unix.EpollEvent{})-packed)...)
	b.Call(recipe.Call{
		Name: "epoll_ctl(EPOLL_CTL_ADD)", Nr: unix.SYS_EPOLL_CTL, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.FD(epoll), recipe.Int(unix.EPOLL_CTL_ADD), recipe.FD(at), recipe.Data(binary.NativeEndian.AppendUint64(event, data))},
	})
	b.Close(at)
}

// Named is a kind of open file for tests: a Unix socket that a bench gives a name without
// its folder.
type Named struct {
	Dir  tasktree.Text // absolute
	Name tasktree.Text
}

// Fields implements [schema.Fielder].
func (n *Named) Fields(f schema.Fields) {
	f.Text("dir", &n.Dir, schema.Help{Required: true})
	f.Text("name", &n.Name, schema.Help{Required: true})
}

// Kind implements [tasktree.Spec].
func (*Named) Kind() string { return "named" }

// Ends implements [tasktree.Spec].
func (*Named) Ends() []string { return nil }

// Check implements [tasktree.Spec].
func (*Named) Check(*tasktree.Tree, func(tasktree.Problem)) {}

// Traits implements [tasktree.Spec].
func (*Named) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{ByRunner: true} }

// Make implements [tasktree.Spec].
func (n *Named) Make(_ *tasktree.Tree, m recipe.Maker) (refs []recipe.Ref) {
	m.Bench(recipe.Bench{Cwd: n.Dir.Value}, func(b recipe.BenchMaker) {
		s := b.FD(recipe.Call{
			Name: "socket", Nr: unix.SYS_SOCKET,
			Args: []recipe.Arg{recipe.Int(unix.AF_UNIX), recipe.Int(unix.SOCK_DGRAM | unix.SOCK_CLOEXEC), recipe.Int(0)},
		})
		b.At(n.Name.Pos)
		address := append(append([]byte{unix.AF_UNIX, 0}, n.Name.Value...), 0)
		b.Call(recipe.Call{
			Name: "bind", Nr: unix.SYS_BIND, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.FD(s), recipe.Data(address), recipe.Int(int64(len(address)))},
		})
		b.Undo(n.Dir.Value + "/" + n.Name.Value)
		b.Give(s)
		refs = []recipe.Ref{s}
	})
	return refs
}

// Gone is a kind of open file for tests: a pidfd of a process that has ended.
type Gone struct {
	Status tasktree.Number
	Bench  recipe.Bench // that makes it
}

// Fields implements [schema.Fielder].
func (g *Gone) Fields(schema.Fields) {}

// Kind implements [tasktree.Spec].
func (*Gone) Kind() string { return "gone" }

// Ends implements [tasktree.Spec].
func (*Gone) Ends() []string { return nil }

// Check implements [tasktree.Spec].
func (*Gone) Check(*tasktree.Tree, func(tasktree.Problem)) {}

// Traits implements [tasktree.Spec].
func (*Gone) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{ByRunner: true} }

// Make implements [tasktree.Spec].
func (g *Gone) Make(_ *tasktree.Tree, m recipe.Maker) (refs []recipe.Ref) {
	m.Bench(g.Bench, func(b recipe.BenchMaker) {
		b.At(g.Status.Pos)
		child := b.Child(int(g.Status.Value))
		pidfd := b.FD(recipe.Call{Name: "pidfd_open", Nr: unix.SYS_PIDFD_OPEN, Args: []recipe.Arg{recipe.Number(child), recipe.Int(0)}})
		b.Reap(child)
		b.Give(pidfd)
		refs = []recipe.Ref{pidfd}
	})
	return refs
}
