package kind_test

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// entry is what a description says of one open file. As a visitor it gives every
// key a line of its own, and notes what it was asked for.
type entry struct {
	schema.Fields                // what no kind binds yet: nil
	values        map[string]any // string, int, []string, or [][]string by end
	asked         []string
	ranges        map[string][2]int64
	tables        map[string][]kind.Flag
	t             testing.TB
}

// line gives the line of a key; items of a list stand in columns 2, 3 ...
var line = map[string]int{
	"path": 1, "flags": 2, "mode": 3, "offset": 4, "content": 5, "capacity": 6, "key": 7, "counter": 8, "semaphore": 9, "signals": 10,
	"name": 11, "size": 12, "seals": 13, "hugetlb": 14, "owner": 15, "atime": 16, "mtime": 17, "file": 18, "packet": 19, "read": 20, "ends": 21, "unlinked": 22, "hup": 23, "links": 24,
	"pair": 19, "queue": 20, "shutdown": 21, "by": 22,
	"listen": 23, "backlog": 24, "via": 25, "pending": 26, "socktype": 27, "bind": 28, "connect": 29, "deleted": 30, "options": 31, "filter": 32,
}

func keyPos(key string) tasktree.Pos { return tasktree.Pos{Line: line[key], Col: 1} }

// lookUp gives the value of a key, if it is there.
func lookUp[T any](e *entry, key string) (v T, ok bool) {
	e.asked = append(e.asked, key)
	if line[key] == 0 {
		e.t.Errorf("the test knows no line for the key %q", key)
	}
	said, ok := e.values[key]
	if !ok {
		return v, false
	}
	if v, ok = said.(T); !ok {
		e.t.Errorf("key %q is asked for as another type than %T", key, said)
	}
	return v, ok
}

func (e *entry) Text(key string, v *schema.Text, _ schema.Help) {
	if s, ok := lookUp[string](e, key); ok {
		*v = tasktree.Text{Value: s, Pos: keyPos(key)}
	}
}

func (e *entry) Bytes(key string, v *schema.Text, h schema.Help) { e.Text(key, v, h) }

func (e *entry) Int(key string, v *schema.Number, i schema.Int) {
	if e.ranges == nil {
		e.ranges = map[string][2]int64{}
	}
	e.ranges[key] = [2]int64{i.Lo, i.Hi}
	e.Mode(key, v, i.Help)
}

func (e *entry) Mode(key string, v *schema.Number, _ schema.Help) {
	if n, ok := lookUp[int](e, key); ok {
		*v = tasktree.Number{Value: int64(n), Pos: keyPos(key)}
	}
}

func (e *entry) Uint(key string, v *schema.Unsigned, _ schema.Uint) {
	if n, ok := lookUp[uint64](e, key); ok {
		*v = schema.Unsigned{Value: n, Pos: keyPos(key)}
	}
}

func (e *entry) Bool(key string, v *schema.Bool, _ schema.Help) {
	if b, ok := lookUp[bool](e, key); ok {
		*v = schema.Bool{Value: b, Pos: keyPos(key)}
	}
}

func (e *entry) Arg(key string, v *schema.Text, h schema.Help) { e.Text(key, v, h) }

func (e *entry) Ref(key string, v *schema.Text, _ schema.Referent, h schema.Help) { e.Text(key, v, h) }

// List takes texts.
func (e *entry) List(key string, l schema.List, _ schema.Help) {
	texts, _ := lookUp[[]string](e, key)
	in := &inner{entry: e, key: key, texts: texts, items: len(texts)}
	in.List(key, l, schema.Help{})
}

// Either takes an owner, or a content that is a text or has a piece at each offset.
func (e *entry) Either(key string, either schema.Either) {
	e.asked = append(e.asked, key)
	switch said := e.values[key].(type) {
	case nil:
		either.Whole(&inner{entry: e, key: key})
	case []int:
		either.Whole(&inner{entry: e, key: key, numbers: said})
	case []string:
		if either.List != nil {
			either.List(&inner{entry: e, key: key, texts: said, items: len(said)})
			return
		}
		either.Whole(&inner{entry: e, key: key, texts: said, items: len(said)})
	case string:
		either.Scalar(&inner{entry: e, key: key, texts: []string{said}})
	case map[string]string:
		either.Whole(&inner{entry: e, key: key, named: said})
	case map[int64]string:
		offsets := slices.Sorted(maps.Keys(said))
		in := &inner{entry: e, key: key, offsets: offsets}
		for _, offset := range offsets {
			in.texts = append(in.texts, said[offset])
		}
		either.Whole(in)
	}
}

// inner is a value of several.
type inner struct {
	schema.Fields

	entry   *entry
	key     string
	numbers []int
	offsets []int64
	texts   []string
	items   int // texts are the entries of a list
	lists   [][]string
	named   map[string]string
}

func (in *inner) List(_ string, l schema.List, _ schema.Help) {
	for i := range in.items {
		l.Add()
		l.Item(i, in)
	}
	for i := range in.numbers {
		l.Add()
		l.Item(i, in)
		in.numbers = in.numbers[1:]
	}
}

func (in *inner) Int(_ string, v *schema.Number, _ schema.Int) {
	*v = schema.Number{Value: int64(in.numbers[0]), Pos: keyPos(in.key)}
}

func (in *inner) Map(_ string, m schema.Map, _ schema.Help) {
	for _, name := range slices.Sorted(maps.Keys(in.named)) {
		m.Add(schema.Text{Value: name}, func(format string, args ...any) { in.entry.t.Errorf(format, args...) })
		in.texts = []string{in.named[name]}
		m.Item(m.Len()-1, in)
	}
	for i, offset := range in.offsets {
		m.Add(schema.Text{Value: strconv.FormatInt(offset, 10)}, func(format string, args ...any) { in.entry.t.Errorf(format, args...) })
		m.Item(i, in)
	}
}

func (in *inner) Text(_ string, v *schema.Text, h schema.Help) { in.Bytes("", v, h) }

func (in *inner) Word(_ string, v *schema.Text, _ []string, h schema.Help) { in.Bytes("", v, h) }

func (in *inner) Flags(_ string, v *schema.Flags, table []kind.Flag, _ schema.Help) {
	*v = in.entry.flags(in.key, in.lists[0], table)
	in.lists = in.lists[1:]
}

// Map takes lists of flags by name.
func (e *entry) Map(key string, m schema.Map, _ schema.Help) {
	lists, _ := lookUp[map[string][]string](e, key)
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		if m.Add(schema.Text{Value: name, Pos: keyPos(key)}, func(format string, args ...any) { e.t.Errorf(format, args...) }) {
			m.Item(m.Len()-1, &inner{entry: e, key: key, lists: [][]string{lists[name]}})
		}
	}
}

func (in *inner) Bytes(_ string, v *schema.Text, _ schema.Help) {
	*v = schema.Text{Value: in.texts[0], Pos: keyPos(in.key)}
	if in.items > 0 {
		v.Pos.Col = 2 + in.items - len(in.texts)
	}
	in.texts = in.texts[1:]
}

func (e *entry) Flags(key string, v *schema.Flags, table []kind.Flag, _ schema.Help) {
	e.note(key, table)
	if names, ok := lookUp[[]string](e, key); ok {
		*v = e.flags(key, names, table)
	}
}

func (e *entry) Group(key string, at *schema.Pos, body func(schema.Fields), _ schema.Help) {
	if key == "expect" { // see TestUnexpected
		return
	}
	lists, ok := lookUp[[][]string](e, key)
	if ok {
		*at = keyPos(key)
	}
	body(&byEnd{entry: e, key: key, lists: lists})
}

// byEnd has lists of flags by end.
type byEnd struct {
	schema.Fields
	entry *entry
	key   string
	lists [][]string
	ends  int
}

func (b *byEnd) Int(string, *schema.Number, schema.Int) {}

func (b *byEnd) Time(string, *schema.Time, schema.Help) {}

func (b *byEnd) Flags(_ string, v *schema.Flags, table []kind.Flag, _ schema.Help) {
	b.entry.note(b.key, table)
	end := b.ends
	b.ends++
	if b.lists == nil {
		return
	}
	var names []string
	if end < len(b.lists) {
		names = b.lists[end]
	}
	*v = b.entry.flags(b.key, names, table)
	v.Pos.Col = 10 * (end + 1) // each end's own place
}

// Ends binds what an end says: values of a kind with ends have the end in their key.
func (e *entry) Ends(key string, ends schema.Ends) {
	if len(ends.Names) == 0 {
		ends.Bind(e, key, 0)
		return
	}
	for end, name := range ends.Names {
		ends.Bind(e, key+"."+name, end)
	}
}

func (e *entry) Word(key string, v *schema.Text, _ []string, h schema.Help) { e.Text(key, v, h) }

func (e *entry) note(key string, table []kind.Flag) {
	if e.tables == nil {
		e.tables = map[string][]kind.Flag{}
	}
	e.tables[key] = table
}

func (e *entry) flags(key string, names []string, table []kind.Flag) kind.Flags {
	all := kind.Flags{Pos: keyPos(key)}
	for i, name := range names {
		f, ok := schema.Named(name, table)
		if !ok || f.Refuse != "" {
			e.t.Errorf("flag %q is not to be had", name)
			continue
		}
		all.Bits |= f.Bits
		all.Items = append(all.Items, schema.FlagItem{Flag: f, Pos: tasktree.Pos{Line: line[key], Col: 2 + i}})
	}
	return all
}

// values is short for what an entry says.
type values = map[string]any

func decode(t testing.TB, name string, said values) tasktree.Spec {
	t.Helper()
	k, ok := kind.Lookup(name)
	if !ok {
		t.Fatalf("no kind %q", name)
	}
	spec := k.New()
	spec.Fields(&entry{values: said, t: t})
	return spec
}

// The steps that a recorder keeps, besides tasktree.Pos for At, recipe.Call
// and recipe.Open.
type (
	pairCall struct{ Call recipe.Call }
	fdCall   struct{ Call recipe.Call }
	caller   struct{ Key string }
	undone   string // a path
)

// recorder is a Maker that keeps the recipe as data. Its first Ref is 100, so
// that no zero value passes for one.
type recorder struct {
	recipe.Maker // what no kind asks for yet: nil
	steps        []any
	refs         recipe.Ref
	own          []recipe.Ref
	has          map[recipe.Condition]bool
	keepsUses    bool
}

const (
	firstRef recipe.Ref = 100
	usedRef  recipe.Ref = 50
)

func (r *recorder) keep(step any) { r.steps = append(r.steps, step) }

func (r *recorder) made(step any) recipe.Ref {
	r.keep(step)
	r.refs++
	return firstRef + r.refs - 1
}

func (r *recorder) Has(c recipe.Condition) bool { return c == recipe.Always || r.has[c] }
func (r *recorder) Mapped(m recipe.Mapped)      { r.keep(m) }

func (r *recorder) Reopen(o recipe.Reopen) recipe.Ref { return r.made(o) }

// Use gives a Ref that no step has made, or keeps what is asked for.
func (r *recorder) Use(file string, end int) recipe.Ref {
	if r.keepsUses {
		return r.made(used{file, end})
	}
	return usedRef + recipe.Ref(end)
}

func (r *recorder) Undo(path string) { r.keep(undone(path)) }

func (r *recorder) At(pos tasktree.Pos)           { r.keep(pos) }
func (r *recorder) Call(c recipe.Call)            { r.keep(c) }
func (r *recorder) FD(c recipe.Call) recipe.Ref   { return r.made(fdCall{c}) }
func (r *recorder) Open(o recipe.Open) recipe.Ref { return r.made(o) }
func (r *recorder) Own(end int) recipe.Ref        { return r.own[end] }
func (r *recorder) Caller(key string) recipe.Ref  { return r.made(caller{key}) }

func (r *recorder) Pair(c recipe.Call) (recipe.Ref, recipe.Ref) {
	first := r.made(pairCall{c})
	r.refs++
	return first, first + 1
}

// phases records what a spec writes in all three.
func (r *recorder) phases(spec tasktree.Spec, t *tasktree.Tree) []recipe.Ref {
	r.own = spec.Make(t, r)
	if filled, ok := spec.(tasktree.Filled); ok {
		filled.Fill(t, r)
	}
	if shaped, ok := spec.(tasktree.Shaped); ok {
		shaped.Shape(t, r)
	}
	return r.own
}
