package images

import (
	"encoding/base64"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

const mappingNode = yaml.MappingNode

// node is a value of the description and its key path. The path is a list that leads
// upwards; it becomes text only for a message.
type node struct {
	d    *decoder
	n    *yaml.Node
	via  *yaml.Node // the outermost alias that leads to it, nil if none does
	up   *node
	step string // key, or "" for an item of a list
	item int
}

func (v node) path() string {
	return tasktree.PathText(func(yield func(string, int) bool) {
		for ; v.up != nil; v = *v.up {
			item := -1
			if v.step == "" {
				item = v.item
			}
			if !yield(v.step, item) {
				return
			}
		}
	})
}

func (v node) pos() tasktree.Pos {
	return tasktree.Pos{Line: v.d.lines + v.n.Line, Col: v.n.Column}
}

// alias returns the position of the alias through which the value was reached. It is not
// valid if there is none.
func (v node) alias() tasktree.Pos {
	if v.via == nil {
		return tasktree.Pos{}
	}
	return tasktree.Pos{Line: v.d.lines + v.via.Line, Col: v.via.Column}
}

// bad reports a problem of a value, which then did not decode.
func (v node) bad(format string, args ...any) {
	v.d.report(v.pos(), v, format, args...)
	v.d.unread(v.path())
}

// target follows an alias.
func (v node) target() node {
	for v.n.Kind == yaml.AliasNode {
		if v.via == nil {
			v.via = v.n
		}
		v.n = v.n.Alias
	}
	return v
}

// plain reports whether v is a scalar without quotes, block style or tag.
func (v node) plain() bool {
	return v.n.Kind == yaml.ScalarNode && v.n.Style == 0
}

// quoted reports whether v is a scalar in quotes, without a tag.
func (v node) quoted() bool {
	return v.n.Kind == yaml.ScalarNode && (v.n.Style == yaml.DoubleQuotedStyle || v.n.Style == yaml.SingleQuotedStyle)
}

// nothing reports whether the value is missing, or written as ~.
func (v node) nothing() bool {
	return v.plain() && (v.n.Value == "" || v.n.Value == "~")
}

// expected reports a value of the wrong form. want describes the right form.
func (v node) expected(want string) {
	if v.nothing() {
		v.bad("the value is missing; write %s", want)
		return
	}
	v.bad("expected %s, found %s", want, v.found())
}

// found describes a value for "expected X, found Y".
func (v node) found() string {
	switch v.n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if v.nothing() {
			return "nothing"
		}
		return strconv.Quote(abbreviate(v.n.Value))
	default:
		return "something else"
	}
}

func abbreviate(s string) string {
	const most = 40 // characters
	n := 0
	for i := range s {
		if n++; n > most {
			return s[:i] + "..."
		}
	}
	return s
}

// field is an entry of a mapping.
type field struct {
	key   node
	name  string
	value node
	asked bool // the declaration of the mapping has bound the key
}

// fields are the entries of a mapping, without duplicates.
type fields []field

// get returns the value of a key.
func (fs fields) get(name string) (node, bool) {
	f, ok := fs.find(name)
	return f.value, ok
}

// find returns the entry of a key.
func (fs fields) find(name string) (field, bool) {
	for i := range fs {
		if fs[i].name == name {
			return fs[i], true
		}
	}
	return field{}, false
}

// keySet finds duplicate keys. It is nil for a small mapping, in which a linear search is
// faster than a map.
type keySet map[string]int // index by key

func newKeySet(n int) keySet {
	const small = 12
	if n <= small {
		return nil
	}
	return make(keySet, n)
}

// add adds the key of the entry that follows those in fs. It returns the index of the same
// key in fs, or -1.
func (s keySet) add(fs fields, name string) int {
	if s == nil {
		return slices.IndexFunc(fs, func(f field) bool { return f.name == name })
	}
	if i, ok := s[name]; ok {
		return i
	}
	s[name] = len(fs)
	return -1
}

// fields returns the entries of a mapping in their order. Keys are strings. A duplicate is
// reported and left out.
func (v node) fields(want string) fields {
	if v.n.Kind != yaml.MappingNode {
		v.expected(want)
		return nil
	}
	v.checkTag("!!map")
	seen := newKeySet(len(v.n.Content) / 2)
	fields := make(fields, 0, len(v.n.Content)/2)
	up := v
	for i := 0; i+1 < len(v.n.Content) && !v.d.stop(); i += 2 {
		key := node{d: v.d, n: v.n.Content[i], via: v.via, up: v.up, step: v.step, item: v.item}.target()
		switch {
		case key.n.Kind != yaml.ScalarNode:
			key.bad("expected a name as the key, found %s", key.found())
			continue
		case key.plain() && key.n.Value == "<<":
			key.bad("merge keys are not allowed; write an alias in place of the whole value")
			continue
		case key.nothing():
			key.bad("the key is empty")
			continue
		}
		text, ok := key.content("a name")
		if !ok {
			continue
		}
		name := text.Value
		f := field{key: key, name: name, value: node{d: v.d, n: v.n.Content[i+1], via: v.via, up: &up, step: name}.target()}
		if first := seen.add(fields, name); first >= 0 {
			v.d.report(key.pos(), f.value, "key %q is given twice (first at %s)", abbreviate(name), fields[first].key.pos())
			continue
		}
		fields = append(fields, f)
	}
	return fields
}

// items returns the items of a list. It stops when the list of problems is full.
func (v node) items(want string) iter.Seq2[int, node] {
	if !v.list() {
		v.expected(want)
		return func(func(int, node) bool) {}
	}
	v.checkTag("!!seq")
	return func(yield func(int, node) bool) {
		up := v
		for i, c := range v.n.Content {
			if v.d.stop() || !yield(i, node{d: v.d, n: c, via: v.via, up: &up, item: i}.target()) {
				return
			}
		}
	}
}

// list reports whether the value is a list.
func (v node) list() bool { return v.n.Kind == yaml.SequenceNode }

// checkTag refuses an explicit tag that is not allowed.
func (v node) checkTag(allowed ...string) bool {
	if v.n.Style&yaml.TaggedStyle == 0 || slices.Contains(allowed, v.n.Tag) {
		return true
	}
	v.bad("tag %s is not allowed here; use %s, or no tag", v.n.Tag, strings.Join(allowed, " or "))
	return false
}

// content is the source text of a scalar. It may be empty if it is quoted or tagged.
func (v node) content(want string) (tasktree.Text, bool) {
	if v.n.Kind != yaml.ScalarNode || v.nothing() {
		v.expected(want)
		return tasktree.Text{}, false
	}
	if v.n.Style&yaml.TaggedStyle == 0 || v.n.Tag == "!!str" {
		return tasktree.Text{Value: v.n.Value, Pos: v.pos()}, true
	}
	if !v.checkTag("!!str", "!!binary") {
		return tasktree.Text{}, false
	}
	// Base64 may have line breaks.
	compact := strings.Join(strings.Fields(v.n.Value), "")
	raw, err := base64.StdEncoding.DecodeString(compact)
	if err != nil {
		v.bad("!!binary needs base64: %v", err)
		return tasktree.Text{}, false
	}
	return tasktree.Text{Value: string(raw), Pos: v.pos()}, true
}

// arg is a string that may be empty, without NUL bytes.
func (v node) arg(want string) (tasktree.Text, bool) {
	t, ok := v.content(want)
	if ok && strings.ContainsRune(t.Value, 0) {
		v.bad("the value has a NUL byte; paths, arguments and variables cannot contain one")
		return tasktree.Text{}, false
	}
	return t, ok
}

// text is a string that is not empty, without NUL bytes.
func (v node) text(want string) (tasktree.Text, bool) {
	t, ok := v.arg(want)
	if ok && t.Value == "" {
		v.bad("the value is empty; write %s", want)
		return tasktree.Text{}, false
	}
	return t, ok
}

// integer is plain decimal digits. want says what the number is, without its range.
func (v node) integer(want string, lo, hi int64) (tasktree.Number, bool) {
	return v.digits(fmt.Sprintf("%s from %d to %d", want, lo, hi), lo, hi)
}

// digits is plain decimal digits. want says what the number is, with its range.
func (v node) digits(want string, lo, hi int64) (tasktree.Number, bool) {
	switch {
	case v.nothing():
		v.expected(want)
		return tasktree.Number{}, false
	case v.plain() && lo < 0 && decimal(strings.TrimPrefix(v.n.Value, "-")):
	case v.quoted() && (decimal(v.n.Value) || lo < 0 && decimal(strings.TrimPrefix(v.n.Value, "-"))):
		v.bad("write %s, without quotes", abbreviate(v.n.Value))
		return tasktree.Number{}, false
	case !v.plain() || !decimal(v.n.Value):
		v.bad("expected %s, found %s", want, v.foundRaw())
		return tasktree.Number{}, false
	}
	n, err := strconv.ParseInt(v.n.Value, 10, 64)
	if err != nil || n < lo || n > hi {
		v.bad("%s is out of range: expected %d to %d", abbreviate(v.n.Value), lo, hi)
		return tasktree.Number{}, false
	}
	return tasktree.Number{Value: n, Pos: v.pos()}, true
}

// unsigned is plain decimal digits. want says what the number is, without its range.
func (v node) unsigned(want string, hi uint64) (schema.Unsigned, bool) {
	switch {
	case v.nothing():
		v.expected(fmt.Sprintf("%s from 0 to %d", want, hi))
		return schema.Unsigned{}, false
	case v.quoted() && decimal(v.n.Value):
		v.bad("write %s, without quotes", abbreviate(v.n.Value))
		return schema.Unsigned{}, false
	case !v.plain() || !decimal(v.n.Value):
		v.bad("expected %s from 0 to %d, found %s", want, hi, v.foundRaw())
		return schema.Unsigned{}, false
	}
	n, err := strconv.ParseUint(v.n.Value, 10, 64)
	if err != nil || n > hi {
		v.bad("%s is out of range: expected 0 to %d", abbreviate(v.n.Value), hi)
		return schema.Unsigned{}, false
	}
	return schema.Unsigned{Value: n, Pos: v.pos()}, true
}

// units are the units of sizes, in bytes.
var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}

// size is decimal digits, with or without a unit. want says what the number is.
func (v node) size(want string, lo, hi int64) (tasktree.Number, bool) {
	want += " in bytes, or such as 64KiB, 2MiB, 1GiB"
	for _, u := range units {
		digits, ok := strings.CutSuffix(v.n.Value, u.name)
		if v.n.Kind != yaml.ScalarNode || !ok || !decimal(digits) {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n > hi/u.bytes || n*u.bytes < lo {
			v.bad("%s is out of range: expected %d to %d bytes", abbreviate(v.n.Value), lo, hi)
			return tasktree.Number{}, false
		}
		return tasktree.Number{Value: n * u.bytes, Pos: v.pos()}, true
	}
	return v.digits(want, lo, hi)
}

// foundRaw is like found, but without quotes around a plain scalar.
func (v node) foundRaw() string {
	if v.plain() && !v.nothing() {
		return abbreviate(v.n.Value)
	}
	return v.found()
}

// decimal reports whether s is digits without sign, leading zero or underscore.
func decimal(s string) bool {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// mode is an octal number up to hi that cannot be mistaken for a decimal one. want says what
// it is, with its range.
func (v node) mode(want string, hi int64) (tasktree.Number, bool) {
	if v.n.Kind != yaml.ScalarNode || v.nothing() || v.n.Style&yaml.TaggedStyle != 0 {
		v.expected(want)
		return tasktree.Number{}, false
	}
	digits := v.n.Value
	if v.plain() && !strings.HasPrefix(digits, "0") && strings.Trim(digits, "01234567") == "" {
		v.bad("%s could be decimal; write the octal mode as 0%[1]s", abbreviate(digits))
		return tasktree.Number{}, false
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(digits, "0o"), 8, 32)
	if err != nil || int64(n) > hi {
		v.bad("expected %s, found %s", want, v.foundRaw())
		return tasktree.Number{}, false
	}
	return tasktree.Number{Value: int64(n), Pos: v.pos()}, true
}

// boolean is plain true or false.
func (v node) boolean() bool {
	if !v.plain() || v.n.Value != "true" && v.n.Value != "false" {
		if v.quoted() && (v.n.Value == "true" || v.n.Value == "false") {
			v.bad("write %s, without quotes", v.n.Value)
		} else {
			v.bad("expected true or false, found %s", v.foundRaw())
		}
		return false
	}
	return v.n.Value == "true"
}

// flags decodes a list of names. word is the noun for one of them, without an article.
func (v node) flags(table []schema.Flag, word string) (schema.Flags, bool) {
	if v.n.Kind != yaml.SequenceNode {
		first := max(0, slices.IndexFunc(table, func(f schema.Flag) bool { return f.Refuse == "" }))
		v.expected(fmt.Sprintf("a list of %ss, such as [%s]", word, table[first].Name))
		return schema.Flags{}, false
	}
	all := schema.Flags{Pos: v.pos()}
	for _, item := range v.items("a list of " + word + "s") {
		t, ok := item.text("a " + word)
		if !ok {
			continue
		}
		f, ok := schema.Named(t.Value, table)
		switch {
		case !ok:
			item.bad("unknown %s %q%s", word, abbreviate(t.Value), v.d.didYouMean(t.Value, schema.FlagNames(table)))
		case f.Refuse != "":
			item.bad("%s is refused: %s", f.Name, f.Refuse)
		case all.Has(f.Name):
			item.bad("%s is given twice", f.Name)
		default:
			all.Bits |= f.Bits
			all.Items = append(all.Items, schema.FlagItem{Flag: f, Pos: t.Pos})
		}
	}
	return all, true
}
