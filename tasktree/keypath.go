package tasktree

import (
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"
)

// KeyPath is a position in the structure of a description. It is a list that leads
// upwards, and becomes text only for a message. nil is the whole document.
type KeyPath struct {
	Up   *KeyPath
	Key  string // "" for an item of a list
	Item int    // of the list, from 0; -1: the step is Key, even if that is ""
}

// Sub returns the path of a key below p.
func (p *KeyPath) Sub(key string) *KeyPath { return &KeyPath{Up: p, Key: key, Item: -1} }

// Entry returns the path of an item of the list at p.
func (p *KeyPath) Entry(i int) *KeyPath { return &KeyPath{Up: p, Item: i} }

// A message shows at most the first and the last steps of a path, and the beginning of
// each key.
const (
	shownSteps = 24 // at each end
	shownKey   = 64 // bytes
)

// String returns "tasks[0].children[2].fds.7". The middle of a long path is replaced by
// "...".
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

// PathText returns the text of a path. upwards yields its steps from the last to the
// first: a key and -1, or the number of an item. PathText keeps only a few steps at a
// time, because a long path may have many problems.
func PathText(upwards iter.Seq2[string, int]) string {
	type step struct {
		key  string
		item int
	}
	var last, first [shownSteps]step // last counts from the end; first is a ring buffer
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

// Abbreviate returns the first n bytes of a longer text, cut at a character, followed by
// "...".
func Abbreviate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
