package tasktree

import (
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"
)

// KeyPath is a place in the structure of a description, as a list that leads
// upwards: it becomes text only for a message. nil is the whole document.
type KeyPath struct {
	Up   *KeyPath
	Key  string // "" for an entry of a list
	Item int    // of the list, from 0; -1: Key counts, even if it is ""
}

// Sub gives the place of a key below p.
func (p *KeyPath) Sub(key string) *KeyPath { return &KeyPath{Up: p, Key: key, Item: -1} }

// Entry gives the place of an entry of the list at p.
func (p *KeyPath) Entry(i int) *KeyPath { return &KeyPath{Up: p, Item: i} }

// What a message shows at most of a path: the first and the last steps, and of
// each key the beginning.
const (
	shownSteps = 24 // at each end
	shownKey   = 64 // bytes
)

// String gives "tasks[0].children[2].fds.7". A path without end is shortened in
// the middle.
func (p *KeyPath) String() string {
	return PathText(func(yield func(string, int) bool) {
		for ; p != nil; p = p.Up {
			item := p.Item
			if p.Key != "" {
				item = -1
			}
			if !yield(p.Key, item) {
				return
			}
		}
	})
}

// PathText gives the text of a path whose steps come from the last to the first:
// a key and -1, or the number of an entry. It keeps few of them at a time, since
// a long path may have many problems.
func PathText(upwards iter.Seq2[string, int]) string {
	type step struct {
		key  string
		item int
	}
	var last, first [shownSteps]step // from the end; around the ring
	n := 0
	for key, item := range upwards {
		if n < shownSteps {
			last[n] = step{key, item}
		} else {
			first[n%shownSteps] = step{key, item}
		}
		n++
	}
	var b strings.Builder
	write := func(s step) {
		if s.item >= 0 {
			b.WriteString("[" + strconv.Itoa(s.item) + "]")
			return
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(Abbreviate(s.key, shownKey))
	}
	for i := n - 1; i >= max(shownSteps, n-shownSteps); i-- {
		write(first[i%shownSteps])
	}
	if n > 2*shownSteps {
		b.WriteString("...")
	}
	for i := min(n, shownSteps) - 1; i >= 0; i-- {
		write(last[i])
	}
	return b.String()
}

// Abbreviate gives at most n bytes of a text, whole characters, with "..." where
// it goes on.
func Abbreviate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
