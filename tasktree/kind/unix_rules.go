package kind

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// unixRules are those of a socket of a description.
type unixRules struct {
	*Unix

	tree *tasktree.Tree
	bad  func(pos tasktree.Pos, key, format string, args ...any)
}

// checkForm holds that one thing is described, with the keys that this has.
func (u unixRules) checkForm() {
	type key struct {
		name string
		pos  tasktree.Pos
		said bool
	}
	forms := []key{
		{"pair", u.Pair.Pos, u.Pair.Said()},
		{"listen", u.Listen.Pos, u.Listen.Said()},
		{"via", u.Via.Pos, u.Via.Said()},
		{"name", u.Name.Pos, u.Name.Said()},
	}
	form := ""
	for _, k := range forms {
		switch {
		case !k.said:
		case form != "":
			u.bad(k.pos, k.name, "%s and %s exclude each other; write one of pair, listen, via, name", form, k.name)
		default:
			form = k.name
		}
	}
	for _, k := range []struct {
		key

		of []string // forms that it goes with, "" for a socket by itself
	}{
		{key{"backlog", u.Backlog.Pos, u.Backlog.Said()}, []string{"listen"}},
		{key{"pending", u.Pending.Pos, u.Pending.Said()}, []string{"via"}},
		{key{"socktype", u.Socktype.Pos, u.Socktype.Said()}, []string{"listen", "name", ""}},
		{key{"bind", u.Bind.Pos, u.Bind.Said()}, []string{"via", "name", ""}},
		{key{"connect", u.Connect.Pos, u.Connect.Said()}, []string{""}},
		{key{"mode", u.Mode.Pos, u.Mode.Said()}, []string{"listen", "via", "name", ""}},
		{key{"deleted", u.Deleted.Pos, u.Deleted.Said()}, []string{"listen", "via", "name", ""}},
	} {
		if k.said && !slices.Contains(k.of, form) {
			u.bad(k.pos, k.name, "%s goes only with %s; drop it", k.name, wordsOfForms(k.of))
		}
	}
	if form == "" && !u.Bind.Said() && !u.Connect.Said() && !u.Socktype.Said() {
		u.bad(tasktree.Pos{}, "", "it is not said what it is; write pair: stream for two sockets that are connected, listen for a listener, via for a connection to one, or socktype for one socket")
	}
}

// wordsOfForms lists forms in words.
func wordsOfForms(forms []string) string {
	words := slices.Clone(forms)
	last := len(words) - 1
	if words[last] == "" {
		words[last] = "a socket by itself"
	}
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// checkNames applies the rules of names.
func (u unixRules) checkNames() {
	u.checkTwice()
	for key, name := range map[string]schema.Text{"listen": u.Listen, "name": u.Name, "bind": u.Bind} {
		if !name.Said() {
			continue
		}
		if why := wrongAddress(u.tree, name.Value); why != "" {
			u.bad(name.Pos, key, "%s", why)
		}
	}
	if u.Name.Value == autobind {
		u.bad(u.Name.Pos, "name", "the kernel gives such a name to a socket that is there; write the name")
	}
	if u.Connect.Said() && !entryName.MatchString(u.Connect.Value) {
		if why := wrongAddress(u.tree, u.Connect.Value); why != "" {
			u.bad(u.Connect.Pos, "connect", "%s", why)
		}
	}
	for i, item := range u.Queue[0] {
		if from := item.From; from.Said() && u.single() && !entryName.MatchString(from.Value) {
			if why := wrongAddress(u.tree, from.Value); why != "" {
				u.bad(from.Pos, fmt.Sprintf("queue[%d].from", i), "%s", why)
			}
		}
	}
	if name := u.bound(); !isPath(name.Value) {
		for key, pos := range map[string]tasktree.Pos{"mode": u.Mode.Pos, "deleted": u.Deleted.Pos} {
			if pos.IsValid() {
				u.bad(pos, key, "only a path has that, and the name is none; drop %s", key)
			}
		}
	}
}

// checkPeers applies the rules of what is on the other side.
func (u unixRules) checkPeers() {
	if l := unixNamed(u.tree, u.Via.Value); u.Via.Value != "" && (l == nil || l.Listen.Value == "") {
		u.bad(u.Via.Pos, "via", "%q is no listener; name a unix with listen", u.Via.Value)
	}
	kindOf := u.typeIn(u.tree)
	if (u.Listen.Value != "" || u.connection()) && kindOf == "dgram" {
		u.bad(u.Socktype.Pos, "socktype", "nobody listens for datagrams; write stream or seqpacket, or bind in place of listen")
	}
	if len(u.Queue[0]) > 0 && u.Listen.Value != "" {
		u.bad(u.Queue[0][0].Pos, "queue", "what waits at a listener are connections; write an entry for each, with via and pending: true, and its queue there")
	}
	if !u.single() {
		return
	}
	if u.Connect.Said() && kindOf != "dgram" {
		u.bad(u.Connect.Pos, "connect", "a socket of the type %s is connected to a listener; write via, or name", kindOf)
	}
	if len(u.Queue[0]) > 0 && kindOf != "dgram" {
		u.bad(u.Queue[0][0].Pos, "queue", "nothing waits in a socket of the type %s that is not connected; drop queue", kindOf)
	} else if len(u.Queue[0]) > 0 && u.Bind.Value == "" {
		u.bad(u.Queue[0][0].Pos, "queue", "nobody can have sent to a socket without a name; write bind")
	}
	for i, item := range append([]Item{{From: u.Connect}}, u.Queue[0]...) {
		key := "connect"
		if i > 0 {
			key = fmt.Sprintf("queue[%d].from", i-1)
		}
		from := item.From
		if !from.Said() || !entryName.MatchString(from.Value) {
			continue
		}
		other := unixNamed(u.tree, from.Value)
		switch {
		case other == nil || !other.single() || other.typeIn(u.tree) != "dgram":
			u.bad(from.Pos, key, "%q is no socket of datagrams by itself (an address that looks like a name is written ./%s)", from.Value, from.Value)
		case i == 0 && other.Bind.Value == "":
			u.bad(from.Pos, key, "%q has no name, so that nobody can send to it; write bind there", from.Value)
		case i > 0 && u.Bind.Value == autobind:
			u.bad(from.Pos, key, "what is sent to a name that the kernel chooses comes from a socket without one; drop from, or give this one a name")
		}
	}
}

// checkTwice refuses a name that another socket has.
func (u unixRules) checkTwice() {
	name := u.address()
	if name == "" {
		return
	}
	key := "bind"
	if u.Listen.Value != "" {
		key = "listen"
	}
	if n, first := u.tree.Tally("unix " + name); n > 1 {
		u.bad(u.bound().Pos, key, "%q is the name of %q already; write another one", u.bound().Value, first.Name)
	}
}

// address is the socket's own name in the form in which it is compared, "" if it has none.
func (u unixRules) address() string {
	switch name := u.bound().Value; {
	case name == "" || name == autobind:
		return ""
	case isPath(name):
		return path.Clean(u.tree.Join(name))
	default: // each type has names of its own
		return u.typeIn(u.tree) + " " + name
	}
}

// checkBacklog refuses a connection that waits where the listener has no room for it.
func (u unixRules) checkBacklog() {
	l := unixNamed(u.tree, u.Via.Value)
	if l == nil || !u.Pending.Value {
		return
	}
	most := l.backlog()
	// One more than the backlog, see unix_recvq_full in net/unix/af_unix.c.
	if n, _ := u.tree.Tally("waits for " + u.Via.Value); int64(n) > most+1 {
		u.bad(u.Pending.Pos, "pending", "%d connections wait for %q by now, and its backlog of %d lets %d; write a larger backlog there, or drop pending", n, u.Via.Value, most, most+1)
	}
}
