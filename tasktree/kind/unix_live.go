package kind

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// typeWord gives the word for a type, "" for one that has none.
func typeWord(bits int) string {
	for word, b := range typeBits {
		if int64(bits) == b {
			return word
		}
	}
	return ""
}

// nameText writes a name of the kernel's.
func nameText(name string) schema.Text {
	const digits = 5 // of a name that the kernel chooses
	switch {
	case name == "":
	case name[0] == 0 && len(name) == 1+digits && strings.Trim(name[1:], "0123456789abcdef") == "":
		name = autobind
	case name[0] == 0:
		name = "@" + name[1:]
	}
	return schema.Text{Value: name, Set: true}
}

// isPair reports whether a live socket is an end of a pair: neither side has a name.
func isPair(live *LiveUnix) bool {
	return live.Connected && live.Name == "" && live.PeerName == "" && live.Listener == ""
}

// Join implements [Joined].
func (u *Unix) Join(e LiveEnd) string {
	live := e.Unix()
	word := schema.Text{Value: typeWord(live.Type), Set: true}
	switch {
	case isPair(live):
		u.Pair = word
	case live.Listens:
		u.Listen, u.Socktype = nameText(live.Name), word
		return ""
	case live.Connected && live.Type != unix.SOCK_DGRAM:
		u.Socktype, u.Name = word, nameText(live.PeerName)
		if live.Accepted {
			u.Name = nameText(live.Name)
		}
		if u.either = live.Either; live.Either && live.Peer < live.Inode {
			u.Name = nameText(live.Name)
		}
		if u.Name.Value == "" { // neither has a name now, and a listener had none
			u.Name.Value = "unknown"
		}
		u.Via = schema.Text{Value: live.Listener, Set: live.Listener != ""}
		u.Pending = schema.Bool{Value: live.Pending, Set: true}
	default:
		u.Socktype = word
		return ""
	}
	return fmt.Sprintf("%d-%d", min(live.Inode, live.Peer), max(live.Inode, live.Peer))
}

// End implements [Readable]. Nothing tells the ends of a pair apart.
func (u *Unix) End(e LiveEnd) int {
	live := e.Unix()
	switch {
	case (isPair(live) || live.Either) && live.Peer != 0 && live.Peer < live.Inode:
		return 1
	case live.Accepted:
		return server
	}
	return 0
}

// Hint implements [Readable].
func (u *Unix) Hint() string {
	switch {
	case u.Pair.Value != "":
		return "pair"
	case u.Listen.Value != "":
		return "listen-" + path.Base(u.Listen.Value)
	case u.Name.Value != "":
		return "to-" + path.Base(u.Name.Value)
	case u.Bind.Value != "":
		return path.Base(u.Bind.Value)
	}
	return "socket"
}

// Made implements [Readable].
func (u *Unix) Made(t *tasktree.Tree) tasktree.Spec {
	said := func(v schema.Text, otherwise string) schema.Text {
		if v.Value == "" {
			v.Value = otherwise
		}
		return schema.Text{Value: v.Value, Pos: v.Pos, Set: true}
	}
	ends := u.Ends()
	made := &Unix{Socket: u.made(ends), Pair: u.Pair, Via: u.Via, Name: u.Name, Mode: u.Mode}
	if l := unixNamed(t, u.Via.Value); u.Via.Value != "" && l != nil && l.Listen.Value != autobind {
		made.Name = schema.Text{Value: l.Listen.Value, Pos: u.Via.Pos, Set: true}
	}
	made.Pending = schema.Bool{Value: u.Pending.Value, Pos: u.Pending.Pos, Set: u.connection()}
	if u.Pair.Value == "" {
		made.Socktype = said(u.Socktype, u.typeIn(t))
	}
	if isPath(u.bound().Value) {
		made.Deleted = schema.Bool{Value: u.Deleted.Value, Pos: u.Deleted.Pos, Set: true}
	}
	switch {
	case u.Listen.Value != "":
		made.Listen = u.Listen
		made.Backlog = schema.Number{Value: u.Backlog.Value, Pos: u.Backlog.Pos, Set: true}
		if !u.Backlog.Said() {
			made.Backlog.Value = defaultBacklog
		}
	case u.single(), u.connection():
		made.Bind = said(u.Bind, "")
	}
	if u.single() {
		made.Connect = addressOf(t, said(u.Connect, ""))
	}
	for end := range u.Queue {
		made.Queue[end] = madeItems(u.Queue[end], u.stream(t))
		for i := range made.Queue[end] {
			if from := &made.Queue[end][i].From; u.single() {
				*from = addressOf(t, said(*from, ""))
				from.Value, _, _ = strings.Cut(from.Value, "\x00") // as far as a look sees it
			}
		}
	}
	if u.typeIn(t) != "dgram" && len(ends) > 1 { // what one side does not send, the other one does not receive
		var bits [2]int
		for end := range bits {
			mine, other := shutBits(u.Shutdown[end].Value), shutBits(u.Shutdown[1-end].Value)
			bits[end] = mine | other>>1&1 | other<<1&2
		}
		for end := range bits {
			made.Shutdown[end].Value = shutWords[bits[end]]
			if !made.Shutdown[end].Pos.IsValid() {
				made.Shutdown[end].Pos = u.Shutdown[1-end].Pos
			}
		}
	}
	return made
}

// addressOf gives the address of an open file of the tree that a text names, and the text if
// it is one. What it is if the kernel chooses it is not said.
func addressOf(t *tasktree.Tree, v schema.Text) schema.Text {
	if !entryName.MatchString(v.Value) {
		return v
	}
	if other := unixNamed(t, v.Value); other != nil {
		v.Value = other.Bind.Value
	}
	if v.Value == autobind {
		return schema.Text{}
	}
	return asAddress(v)
}

// asAddress writes an address so that it is not taken for the name of an open file.
func asAddress(v schema.Text) schema.Text {
	if entryName.MatchString(v.Value) {
		v.Value = "./" + v.Value
	}
	return v
}

// Turn implements [Turning].
func (u *Unix) Turn() bool {
	switch {
	case u.Pair.Value != "":
	case u.either:
		u.Name, u.Bind = u.Bind, u.Name
	default:
		return false
	}
	u.turn()
	return true
}

// Settle implements [Settling]: an empty message is seen once, so that one which is
// expected and was not seen may be there.
func (u *Unix) Settle(made tasktree.Spec) {
	expects, ok := made.(*Unix)
	if !ok {
		return
	}
	u.settle(&expects.Socket)
	if u.Socktype.Value == "stream" || u.Pair.Value == "stream" {
		return
	}
	for end, expected := range expects.Queue {
		u.Queue[end] = withEmpty(u.Queue[end], expected)
	}
}

// withEmpty puts empty items where they are expected, and were not seen.
func withEmpty(seen, expected []Item) (all []Item) {
	for _, e := range expected {
		empty := e.Data.Value == ""
		switch {
		case empty && len(seen)+len(all) < len(expected) && (len(seen) == 0 || seen[0].Data.Value != ""):
			all = append(all, e)
		case len(seen) > 0:
			all, seen = append(all, seen[0]), seen[1:]
		}
	}
	return append(all, seen...)
}

// Read implements [Readable].
func (u *Unix) Read(l Live) (unseen []Unseen) {
	ends := u.Ends()
	for _, e := range l.Ends() {
		end, live := u.End(e), e.Unix()
		u.Flags[end] = visible(socketFlags, e.Flags())
		u.Owner[end] = ownerOf(e)
		if live.Connected && live.Peer == 0 && !live.Pending && live.Type != unix.SOCK_DGRAM {
			unseen = append(unseen, Unseen{Key: at("shutdown", ends, end), Why: "the other side is closed, which shuts both directions", Always: true})
		} else {
			u.Shutdown[end] = schema.Text{Value: shutWords[live.Shutdown&3], Set: true}
		}
		if end == 0 && u.Pair.Value == "" {
			unseen = append(unseen, u.readNames(l, e)...)
		}
		if !l.Wants(at("shutdown", ends, end)) { // which is said of every socket, as a queue that is empty is not
			continue
		}
		key := at("queue", ends, end)
		err := e.Copy(func(c LiveCopy) error {
			unseen = append(unseen, u.Options[end].read(l, c, at("options", ends, end), unixOptions)...)
			var err error
			if u.Filter[end], err = readFilter(c); err != nil {
				unseen = append(unseen, Unseen{Key: at("filter", ends, end), Why: err.Error()})
			}
			if live.Listens {
				return nil
			}
			waiting, err := c.Queue()
			u.Queue[end] = readItems(waiting, u.single())
			return err
		})
		if err != nil {
			_, never := errors.AsType[*NeverError](err)
			unseen = append(unseen, Unseen{Key: key, Why: err.Error(), Always: never})
		}
	}
	if u.Pending.Value {
		unseen = append(unseen, Unseen{Key: "queue.server", Why: "nobody has the server yet", Always: true})
	}
	return unseen
}

// readNames reads what belongs to the name of a listener, of a client, of a socket by
// itself.
func (u *Unix) readNames(l Live, e LiveEnd) (unseen []Unseen) {
	live := e.Unix()
	name := nameText(live.Name)
	switch {
	case live.Listens:
		u.Backlog = schema.Number{Value: int64(live.Backlog), Set: true}
	case u.single():
		u.Bind, u.Connect = name, asAddress(nameText(live.PeerName))
		if u.Connect.Value == "./"+autobind {
			u.Connect = schema.Text{}
		}
	default:
		u.Bind = name
	}
	if !isPath(name.Value) || !l.Wants("mode") && !l.Wants("deleted") {
		return nil
	}
	err := e.Copy(func(c LiveCopy) error {
		mode, names, err := c.BoundFile()
		if err != nil {
			return err
		}
		const permissions = 0o7777
		u.Mode = schema.Number{Value: int64(mode & permissions), Set: true}
		u.Deleted = schema.Bool{Value: names == 0, Set: true}
		return nil
	})
	if err != nil {
		unseen = append(unseen, Unseen{Key: "mode", Why: err.Error()}, Unseen{Key: "deleted", Why: err.Error()})
	}
	return unseen
}
