package plantest

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Mailbox is a kind of open file for tests, which uses what no kind of a
// description needs yet: a Unix datagram socket with a name, in which a letter
// waits that another open file lies in.
type Mailbox struct {
	Path  tasktree.Text
	Text  tasktree.Text
	Holds tasktree.Text // the name of an open file
	Owner tasktree.Text // the name of the task that gets its signals; "": none
}

var _ interface {
	tasktree.Spec
	tasktree.Filled
	tasktree.Ordered
	tasktree.Wired
} = (*Mailbox)(nil)

// Fields implements [schema.Fielder].
func (b *Mailbox) Fields(f schema.Fields) {
	f.Text("path", &b.Path, schema.Help{Required: true})
	f.Text("text", &b.Text, schema.Help{})
	f.Ref("holds", &b.Holds, schema.ToFile, schema.Help{Required: true})
	f.Ref("owner", &b.Owner, schema.ToTask, schema.Help{})
}

// Kind implements [tasktree.Spec].
func (*Mailbox) Kind() string { return "mailbox" }

// Ends implements [tasktree.Spec].
func (*Mailbox) Ends() []string { return nil }

// Check implements [tasktree.Spec].
func (*Mailbox) Check(*tasktree.Tree, func(tasktree.Problem)) {}

// Traits implements [tasktree.Spec].
func (*Mailbox) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{ByRunner: true} }

// Needs implements [tasktree.Ordered]: the file is there before the letter is, but the
// order is a part of the test.
func (b *Mailbox) Needs() []string { return []string{b.Holds.Value} }

// address is a struct sockaddr_un.
func (b *Mailbox) address(t *tasktree.Tree) []byte {
	return append(append([]byte{unix.AF_UNIX, 0}, t.Join(b.Path.Value)...), 0)
}

// Make implements [tasktree.Spec].
func (b *Mailbox) Make(t *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	s := m.FD(recipe.Call{
		Name: "socket", Nr: unix.SYS_SOCKET,
		Args: []recipe.Arg{recipe.Int(unix.AF_UNIX), recipe.Int(unix.SOCK_DGRAM | unix.SOCK_CLOEXEC), recipe.Int(0)},
	})
	m.At(b.Path.Pos)
	address := b.address(t)
	m.Call(recipe.Call{
		Name: "bind", Nr: unix.SYS_BIND, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.FD(s), recipe.Data(address), recipe.Int(int64(len(address)))},
	})
	m.Undo(t.Join(b.Path.Value))
	return []recipe.Ref{s}
}

// Fill implements [tasktree.Filled].
func (b *Mailbox) Fill(t *tasktree.Tree, m recipe.Maker) {
	m.At(b.Text.Pos)
	m.Message(recipe.Message{To: m.Own(0), Addr: b.address(t), Data: []byte(b.Text.Value), Files: []recipe.Ref{m.Use(b.Holds.Value, 0)}})
	waiting := m.Cell()
	m.Await(recipe.Call{
		Name: "ioctl(FIONREAD)", Nr: unix.SYS_IOCTL, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.FD(m.Own(0)), recipe.Int(unix.TIOCINQ), recipe.Out(waiting)},
	}, waiting, int64(len(b.Text.Value)))
	m.Learn("waiting", recipe.Part{Cell: waiting, Size: 4})
}

// Wire implements [tasktree.Wired]: each task that has the box makes the owner its owner,
// once the owner is there.
func (b *Mailbox) Wire(_ *tasktree.Tree, u tasktree.Use, w recipe.Wirer) {
	if b.Owner.Value == "" {
		return
	}
	const process = 1 // F_OWNER_PID
	w.At(b.Owner.Pos)
	w.After(recipe.LastFiles, b.Owner.Value, recipe.Enter)
	w.Call(recipe.LastFiles, recipe.Call{
		Name: "fcntl(F_SETOWN_EX)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing,
		Args: []recipe.Arg{
			recipe.Descriptor(u.FD), recipe.Int(unix.F_SETOWN_EX),
			recipe.Struct(recipe.Data(binary.NativeEndian.AppendUint32(nil, process)), recipe.PID(b.Owner.Value)),
		},
	})
}
