package kind

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// maxSunPath is how many bytes a name has at most: those of sun_path without a NUL.
const maxSunPath = 107

func isPath(name string) bool {
	return name != "" && name[0] != '@' && name != autobind
}

// wrongAddress says what is wrong with a name, "" if nothing is.
func wrongAddress(t *tasktree.Tree, name string) string {
	switch {
	case name == "":
		return "the name is empty; write a path, @NAME, or autobind"
	case name[0] == '@' && len(name) > maxSunPath+1:
		return fmt.Sprintf("the name has %d bytes after the @, and the kernel takes %d", len(name)-1, maxSunPath)
	case name[0] != '@' && len(name) > maxSunPath:
		return fmt.Sprintf("the name has %d bytes, and the kernel takes %d; a path that is relative to the folder of the description is shorter", len(name), maxSunPath)
	case !isPath(name):
		return ""
	case strings.ContainsRune(name, 0):
		return "a NUL byte cannot be part of a path"
	}
	if why := tasktree.AnotherProcess(t.Join(name)); why != "" {
		return fmt.Sprintf("%q %s", name, why)
	}
	return ""
}

// sockaddr gives the struct sockaddr_un of a name, and the folder in which it is meant.
func sockaddr(t *tasktree.Tree, name string) (address []byte, folder string) {
	address = []byte{unix.AF_UNIX, 0}
	switch {
	case name == autobind:
		return address, ""
	case name[0] == '@':
		return append(append(address, 0), name[1:]...), ""
	case !filepath.IsAbs(name):
		folder = t.Dir
	}
	return append(append(address, name...), 0), folder
}

// addressed is a call that takes an address as its second and third argument.
func addressed(t *tasktree.Tree, call string, nr uintptr, fd recipe.Ref, name string) recipe.Call {
	address, folder := sockaddr(t, name)
	return recipe.Call{
		Name: call, Nr: nr, Effect: recipe.Nothing, Folder: folder,
		Args: []recipe.Arg{recipe.FD(fd), recipe.Data(address), recipe.Int(int64(len(address)))},
	}
}

// newSocket makes a socket.
func newSocket(m recipe.Maker, kindOf string, flags int64) recipe.Ref {
	return m.FD(recipe.Call{
		Name: "socket", Nr: unix.SYS_SOCKET,
		Args: []recipe.Arg{recipe.Int(unix.AF_UNIX), recipe.Int(typeBits[kindOf] | unix.SOCK_CLOEXEC | flags), recipe.Int(0)},
	})
}

// bindTo gives a socket a name. The file that a path makes is removed if the restore fails.
func bindTo(t *tasktree.Tree, m recipe.Maker, fd recipe.Ref, name schema.Text) {
	m.At(name.Pos)
	m.Call(addressed(t, "bind", unix.SYS_BIND, fd, name.Value))
	if isPath(name.Value) {
		m.Undo(t.Join(name.Value))
	}
}

// onPath is a call about the file of a name.
func onPath(t *tasktree.Tree, call string, nr uintptr, name string, args ...recipe.Arg) recipe.Call {
	return recipe.Call{
		Name: call, Nr: nr, Effect: recipe.Nothing,
		Args: append([]recipe.Arg{recipe.Int(unix.AT_FDCWD), recipe.Data(append([]byte(t.Join(name)), 0))}, args...),
	}
}

// unixMaker writes the recipe of a socket.
type unixMaker struct {
	*Unix

	tree *tasktree.Tree
	m    recipe.Maker
}

// bindOwn gives the socket, or the client, its name, and the path its mode. A mode of the
// socket itself is what bind(2) gives a path at most, so that nobody can connect meanwhile who
// could not later.
func (u unixMaker) bindOwn(fd recipe.Ref) {
	name := u.bound()
	if name.Value == "" {
		return
	}
	chmod := func(mode int64) {
		u.m.At(u.Mode.Pos)
		u.m.Call(recipe.Call{Name: "fchmod", Nr: unix.SYS_FCHMOD, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.FD(fd), recipe.Int(mode)}})
	}
	exact := u.Mode.Said() && isPath(name.Value)
	if exact {
		chmod(u.Mode.Value)
	}
	bindTo(u.tree, u.m, fd, name)
	if exact {
		u.setPathMode()
		chmod(usualMode)
	}
}

// usualMode is that of a socket, which nobody looks at.
const usualMode = 0o777

// Make implements [tasktree.Spec].
func (u *Unix) Make(t *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	in := unixMaker{u, t, m}
	kindOf := u.typeIn(t)
	switch {
	case u.Pair.Value != "":
		m.At(u.Pair.Pos)
		a, b := m.Pair(recipe.Call{
			Name: "socketpair", Nr: unix.SYS_SOCKETPAIR,
			Args: []recipe.Arg{recipe.Int(unix.AF_UNIX), recipe.Int(typeBits[kindOf] | unix.SOCK_CLOEXEC), recipe.Int(0), recipe.PairAt()},
		})
		return []recipe.Ref{a, b}
	case u.Listen.Value != "":
		m.At(u.Listen.Pos)
		l := newSocket(m, kindOf, 0)
		in.bindOwn(l)
		m.At(cmp.Or(u.Backlog.Pos, u.Listen.Pos))
		listen(m, l, u.backlog())
		return []recipe.Ref{l}
	case u.connection():
		return in.makeConnection(kindOf)
	}
	m.At(u.Socktype.Pos)
	s := newSocket(m, kindOf, 0)
	in.bindOwn(s)
	return []recipe.Ref{s}
}

func listen(m recipe.Maker, fd recipe.Ref, backlog int64) {
	m.Call(recipe.Call{Name: "listen", Nr: unix.SYS_LISTEN, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.FD(fd), recipe.Int(backlog)}})
}

// makeConnection makes a client, and has it accepted. One that stays pending is connected
// when all others are accepted: it would be the first to be.
func (u unixMaker) makeConnection(kindOf string) []recipe.Ref {
	at := u.Via.Pos
	if u.Name.Value != "" {
		at = u.Name.Pos
	}
	u.m.At(at)
	c := newSocket(u.m, kindOf, unix.SOCK_NONBLOCK) // a connection that does not fit must be an error
	u.bindOwn(c)
	if u.Pending.Value {
		return []recipe.Ref{c}
	}
	u.m.At(at)
	var l recipe.Ref
	if u.Via.Value != "" {
		l = u.m.Use(u.Via.Value, 0)
		u.connectVia(c)
	} else {
		l = newSocket(u.m, kindOf, 0)
		bindTo(u.tree, u.m, l, u.Name)
		listen(u.m, l, 1)
		u.m.Call(addressed(u.tree, "connect", unix.SYS_CONNECT, c, u.Name.Value))
		if isPath(u.Name.Value) {
			u.m.Call(onPath(u.tree, "unlinkat", unix.SYS_UNLINKAT, u.Name.Value, recipe.Int(0)))
		}
	}
	s := u.m.FD(recipe.Call{
		Name: "accept4", Nr: unix.SYS_ACCEPT4,
		Args: []recipe.Arg{recipe.FD(l), recipe.Int(0), recipe.Int(0), recipe.Int(unix.SOCK_CLOEXEC)},
	})
	if u.Via.Value == "" { // another connection may have had a listener of that name
		u.m.Call(closing(l))
	}
	return []recipe.Ref{c, s}
}

// connectVia connects a client to the listener.
func (u unixMaker) connectVia(c recipe.Ref) {
	listener := unixNamed(u.tree, u.Via.Value)
	u.connectTo(c, u.m.Use(u.Via.Value, 0), listener.Listen.Value, []recipe.Hint{
		{Errno: int(unix.EAGAIN), Text: fmt.Sprintf("more connections wait at %q than its backlog allows, which is one more than that number; raise it", u.Via.Value)},
	})
}

// connectTo connects a socket to another one of the tree, by the name that it is bound to.
func (u unixMaker) connectTo(fd, to recipe.Ref, name string, hints []recipe.Hint) {
	call := addressed(u.tree, "connect", unix.SYS_CONNECT, fd, name)
	if name == autobind {
		// Family, NUL and five digits: the kernel says which, in the room of a cell.
		const size = 8
		address, length := u.m.Cell(), recipe.Data([]byte{size, 0, 0, 0})
		u.m.Call(recipe.Call{
			Name: "getsockname", Nr: unix.SYS_GETSOCKNAME, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.FD(to), recipe.Out(address), length},
		})
		call.Args[1], call.Args[2] = recipe.Out(address), recipe.Int(size)
	}
	call.Hints = hints
	u.m.Call(call)
}

// Fill implements [tasktree.Filled].
func (u *Unix) Fill(t *tasktree.Tree, m recipe.Maker) {
	in := unixMaker{u, t, m}
	switch {
	case u.single():
		in.fillSingle()
		return
	case u.Pending.Value:
		m.At(u.Pending.Pos)
		in.connectVia(m.Own(client))
		in.fillBy(client, server)
		return
	}
	for end := range u.Queue {
		if len(u.Queue[end]) > 0 {
			in.fillBy(1-end, end)
		}
	}
}

// fillBy sends what waits at an end by the socket on the other side, which gets a larger
// send buffer before: what waits may be more than the usual one takes.
func (u unixMaker) fillBy(by, end int) {
	if v, said := u.Options[by].Numbers["SO_SNDBUF"]; said && len(u.Queue[end]) > 0 {
		setBuffer(u.m, u.m.Own(by), "SO_SNDBUF", v)
	}
	for i := range u.Queue[end] {
		u.Queue[end][i].send(u.tree, u.m, recipe.Message{To: u.m.Own(by), Hints: fullHints})
	}
}

// fillSingle has datagrams sent by whom they are from: an open file of the tree, or a
// socket that has the name for that long.
func (u unixMaker) fillSingle() {
	for i := range u.Queue[0] {
		item := &u.Queue[0][i]
		from := item.From.Value
		if entryName.MatchString(from) {
			address, folder := sockaddr(u.tree, u.Bind.Value)
			item.send(u.tree, u.m, recipe.Message{To: u.m.Use(from, 0), Addr: address, From: folder, Hints: fullHints})
			continue
		}
		u.m.At(item.Pos)
		s := newSocket(u.m, "dgram", 0)
		if from != "" {
			bindTo(u.tree, u.m, s, item.From)
		}
		u.connectTo(s, u.m.Own(0), u.Bind.Value, nil)
		item.send(u.tree, u.m, recipe.Message{To: s, Hints: fullHints})
		if isPath(from) {
			u.m.Call(onPath(u.tree, "unlinkat", unix.SYS_UNLINKAT, from, recipe.Int(0)))
		}
		u.m.Call(closing(s))
	}
}

// closing closes what a recipe needs no more: a name is free then.
func closing(fd recipe.Ref) recipe.Call {
	return recipe.Call{Name: "close", Nr: unix.SYS_CLOSE, Effect: recipe.Closes, Args: []recipe.Arg{recipe.FD(fd)}}
}

// fullHints say what it means that a queue takes no more.
var fullHints = []recipe.Hint{
	{Errno: int(unix.EAGAIN), Text: "the queue is full: what waits is more than the send buffer of the sender takes (net.core.wmem_default, where an item costs some hundred bytes more than its text), or more datagrams than net.unix.max_dgram_qlen and one wait in a socket that is not connected"},
	{Errno: int(unix.EMSGSIZE), Text: "the item is larger than the send buffer of the sender (net.core.wmem_default)"},
	{Errno: int(unix.ETOOMANYREFS), Text: "more open files wait in queues than a user may have there: as many as RLIMIT_NOFILE, without CAP_SYS_RESOURCE and CAP_SYS_ADMIN"},
	{Errno: int(unix.EOPNOTSUPP), Text: "this kernel has no out-of-band bytes on Unix sockets; drop oob"},
}

// Shape implements [tasktree.Shaped].
func (u *Unix) Shape(t *tasktree.Tree, m recipe.Maker) {
	in := unixMaker{u, t, m}
	if to := u.Connect.Value; to != "" {
		if entryName.MatchString(to) && unixNamed(t, to).loses() && !tasktree.IsGiven(t.FileNamed(to).Spec) {
			// it does that before it loses its path
		} else {
			in.connectSingle(m.Own(0))
		}
	}
	for end := range max(1, len(u.Ends())) {
		has := 0
		if u.connection() && end == client {
			has = unix.O_NONBLOCK
		}
		u.shape(m, unixOptions, end, has)
	}
	name := u.bound()
	if !isPath(name.Value) {
		return
	}
	if owner := u.Owner[0]; owner.said() > 0 {
		user, group := owner.ids()
		m.At(owner.UID.Pos)
		m.Call(onPath(t, "fchownat", unix.SYS_FCHOWNAT, name.Value, user, group, recipe.Int(unix.AT_SYMLINK_NOFOLLOW)))
		if u.Mode.Value&(unix.S_ISUID|unix.S_ISGID) != 0 { // chown(2) takes them away
			in.setPathMode()
		}
	}
	if u.loses() {
		in.connectOthers()
		m.At(u.Deleted.Pos)
		m.Call(onPath(t, "unlinkat", unix.SYS_UNLINKAT, name.Value, recipe.Int(0)))
	}
}

// setPathMode gives the path its permissions.
func (u unixMaker) setPathMode() {
	u.m.At(u.Mode.Pos)
	u.m.Call(onPath(u.tree, "fchmodat", unix.SYS_FCHMODAT, u.bound().Value, recipe.Int(u.Mode.Value)))
}

// connectSingle connects a socket of datagrams, when all have been sent: one that is
// connected takes them from its other side only.
func (u unixMaker) connectSingle(fd recipe.Ref) {
	u.m.At(u.Connect.Pos)
	if to := u.Connect.Value; entryName.MatchString(to) {
		other := unixNamed(u.tree, to)
		u.connectTo(fd, u.m.Use(to, 0), other.Bind.Value, nil)
		return
	}
	s := newSocket(u.m, "dgram", 0)
	bindTo(u.tree, u.m, s, u.Connect)
	u.connectTo(fd, s, u.Connect.Value, nil)
	if isPath(u.Connect.Value) {
		u.m.Call(onPath(u.tree, "unlinkat", unix.SYS_UNLINKAT, u.Connect.Value, recipe.Int(0)))
	}
	u.m.Call(closing(s))
}

// loses reports whether the path that the socket is bound to is removed.
func (u *Unix) loses() bool { return u.Deleted.Value && isPath(u.bound().Value) }

// connectOthers connects those that are to send to this one, as long as it has its path.
func (u unixMaker) connectOthers() {
	if !u.single() {
		return
	}
	for _, f := range u.tree.Files {
		other, ok := f.Spec.(*Unix) // not one that the caller gives: it stays as it is
		if ok && f.Needed && entryName.MatchString(other.Connect.Value) && unixNamed(u.tree, other.Connect.Value) == u.Unix {
			unixMaker{other, u.tree, u.m}.connectSingle(u.m.Use(f.Name, 0))
		}
	}
}
