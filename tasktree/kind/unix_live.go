package kind

import (
	"errors"
	"fmt"

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

// Join implements [Joined].
func (u *Unix) Join(e LiveEnd) string {
	live := e.Unix()
	if !live.Connected {
		return ""
	}
	u.Pair = schema.Text{Value: typeWord(live.Type), Set: true}
	return fmt.Sprintf("%d-%d", min(live.Inode, live.Peer), max(live.Inode, live.Peer))
}

// End implements [Readable]. Nothing tells the ends of a pair apart.
func (u *Unix) End(e LiveEnd) int {
	live := e.Unix()
	if live.Connected && live.Peer != 0 && live.Peer < live.Inode {
		return 1
	}
	return 0
}

// Hint implements [Readable].
func (u *Unix) Hint() string {
	if u.Pair.Value != "" {
		return "pair"
	}
	return "socket"
}

// Made implements [Readable].
func (u *Unix) Made(*tasktree.Tree) tasktree.Spec {
	made := &Unix{Socket: u.made(u.Ends()), Pair: u.Pair}
	for end := range u.Queue {
		made.Queue[end] = madeItems(u.Queue[end], u.stream())
	}
	if u.Pair.Value != "dgram" { // what one side does not send, the other one does not receive
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

// Turn implements [Turning].
func (u *Unix) Turn() bool {
	if u.Pair.Value == "" {
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
	if u.stream() {
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
		end := u.End(e)
		live := e.Unix()
		u.Flags[end] = visible(socketFlags, e.Flags())
		u.Owner[end] = ownerOf(e)
		if live.Connected && live.Peer == 0 && live.Type != unix.SOCK_DGRAM {
			unseen = append(unseen, Unseen{Key: at("shutdown", ends, end), Why: "the other side is closed, which shuts both directions", Always: true})
		} else {
			u.Shutdown[end] = schema.Text{Value: shutWords[live.Shutdown&3], Set: true}
		}
		key := at("queue", ends, end)
		if !l.Wants(at("shutdown", ends, end)) { // which is said of every socket, as a queue that is empty is not
			continue
		}
		err := e.Copy(func(c LiveCopy) error {
			waiting, err := c.Queue()
			u.Queue[end] = readItems(waiting)
			return err
		})
		if err != nil {
			_, never := errors.AsType[*NeverError](err)
			unseen = append(unseen, Unseen{Key: key, Why: err.Error(), Always: never})
		}
	}
	return unseen
}
