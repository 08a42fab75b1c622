package images

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// visit decodes one value by its declaration: a mapping if keys were bound, or the value
// bound to the key "".
type visit struct {
	d      *decoder
	v      node
	got    fields // of the mapping, if opened
	opened bool
	want   string // the form of the mapping, for messages
	short  string // the key that the value stands for, if it is a scalar
	owner  string // "a pipe": what has these keys, if the type decides that
	quiet  bool   // the valid keys are not known
	keys   int    // index in decoder.keys of the first key of this mapping
}

var _ schema.Fields = (*visit)(nil)

// decode decodes a value by its declaration. want describes a mapping in messages.
func (d *decoder) decode(v node, want string, fields func(schema.Fields)) {
	m := d.begin(v, want)
	fields(m)
	d.end(m)
}

// begin returns a visit of a value; end ends it. Visits end in the reverse order.
func (d *decoder) begin(v node, want string) *visit {
	var m *visit
	if n := len(d.spare); n > 0 {
		m, d.spare = d.spare[n-1], d.spare[:n-1]
	} else {
		m = &visit{}
	}
	*m = visit{d: d, v: v, want: want, keys: len(d.keys)}
	return m
}

func (d *decoder) end(m *visit) {
	m.finish()
	d.keys = d.keys[:m.keys]
	*m = visit{} // or it would keep the nodes of its piece of the text alive
	d.spare = append(d.spare, m)
}

// finish reports the keys that were not bound.
func (m *visit) finish() {
	if m.quiet || m.v.n == nil {
		return
	}
	for i := range m.got {
		f := &m.got[i]
		if f.asked {
			continue
		}
		f.asked = true
		keys := m.d.keys[m.keys:]
		hint := m.d.didYouMean(f.name, keys)
		if m.owner != "" {
			m.d.report(f.key.pos(), f.value, "unknown key %q%s; %s has the keys %s", abbreviate(f.name), hint, m.owner, strings.Join(keys, ", "))
		} else {
			m.d.report(f.key.pos(), f.value, "unknown key %q%s; expected one of %s", abbreviate(f.name), hint, strings.Join(keys, ", "))
		}
	}
}

// find returns the entry of a key.
func (m *visit) find(key string, h *schema.Help) (field, bool) {
	if key == "" {
		return field{key: m.v, value: m.v}, true
	}
	if m.short != "" && m.v.n.Kind != mappingNode {
		return field{key: m.v, value: m.v}, key == m.short
	}
	m.open()
	m.d.keys = append(m.d.keys, key)
	for i := range m.got {
		if f := &m.got[i]; f.name == key {
			f.asked = true
			return *f, true
		}
	}
	if h.Required && m.v.n.Kind == mappingNode {
		m.missing(key, "")
	}
	return field{}, false
}

func (m *visit) get(key string, h *schema.Help) (node, bool) {
	f, ok := m.find(key, h)
	return f.value, ok
}

// missing reports a required key that is missing.
func (m *visit) missing(key, more string) {
	m.v.bad("the key %q is missing%s", key, more)
	m.d.unread(m.v.path() + "." + key)
}

func (m *visit) open() {
	if !m.opened {
		m.opened = true
		m.got = m.v.fields(m.want)
	}
}

func or(want, usual string) string {
	if want != "" {
		return want
	}
	return usual
}

// set sets a value if it has decoded.
func set[T comparable](v *schema.Value[T], got schema.Value[T], ok bool) {
	if ok {
		*v = got
	}
}

// Text implements [schema.Fields].
func (m *visit) Text(key string, v *schema.Text, h schema.Help) {
	if n, ok := m.get(key, &h); ok {
		t, ok := n.text(or(h.Want, "a value"))
		set(v, t, ok)
	}
}

// Arg implements [schema.Fields].
func (m *visit) Arg(key string, v *schema.Text, h schema.Help) {
	if n, ok := m.get(key, &h); ok {
		t, ok := n.arg(or(h.Want, "a value"))
		set(v, t, ok)
	}
}

// Bytes implements [schema.Fields].
func (m *visit) Bytes(key string, v *schema.Text, h schema.Help) {
	if n, ok := m.get(key, &h); ok {
		t, ok := n.content(or(h.Want, `the content ("" for none)`))
		set(v, t, ok)
	}
}

// Ref implements [schema.Fields].
func (m *visit) Ref(key string, v *schema.Text, to schema.Referent, h schema.Help) {
	usual := "the name of an open file"
	if to == schema.ToTask {
		usual = "the name of a task"
	}
	h.Want = or(h.Want, usual)
	m.Text(key, v, h)
}

// Word implements [schema.Fields].
func (m *visit) Word(key string, v *schema.Text, words []string, h schema.Help) {
	n, ok := m.get(key, &h)
	if !ok {
		return
	}
	t, ok := n.text(or(h.Want, "one of "+strings.Join(words, ", ")))
	if !ok {
		return
	}
	if slices.Contains(words, t.Value) {
		*v = t
		return
	}
	n.bad("unknown word %q%s; expected one of %s", abbreviate(t.Value), m.d.didYouMean(t.Value, words), strings.Join(words, ", "))
}

// Int implements [schema.Fields].
func (m *visit) Int(key string, v *schema.Number, i schema.Int) {
	n, ok := m.get(key, &i.Help)
	if !ok {
		return
	}
	var got schema.Number
	switch {
	case i.Sized:
		got, ok = n.size(or(i.Of, "a size"), i.Lo, i.Hi)
	case i.Want != "":
		got, ok = n.digits(i.Want, i.Lo, i.Hi)
	default:
		got, ok = n.integer(or(i.Of, "a number"), i.Lo, i.Hi)
	}
	set(v, got, ok)
}

// Uint implements [schema.Fields].
func (m *visit) Uint(key string, v *schema.Unsigned, u schema.Uint) {
	if n, ok := m.get(key, &u.Help); ok {
		got, ok := n.unsigned(or(u.Of, "a number"), u.Hi)
		set(v, got, ok)
	}
}

// Mode implements [schema.Fields].
func (m *visit) Mode(key string, v *schema.Number, h schema.Help) {
	if n, ok := m.get(key, &h); ok {
		const want, highest = "an octal mode from 0 to 07777, such as 0644", 0o7777
		got, ok := n.mode(or(h.Want, want), cmp.Or(h.Highest, highest))
		set(v, got, ok)
	}
}

// Bool implements [schema.Fields].
func (m *visit) Bool(key string, v *schema.Bool, h schema.Help) {
	if n, ok := m.get(key, &h); ok {
		*v = schema.Bool{Value: n.boolean(), Pos: n.pos()}
	}
}

// Time implements [schema.Fields].
func (m *visit) Time(key string, v *schema.Time, h schema.Help) {
	const want = "a duration, such as 1.5s or 200ms"
	n, ok := m.get(key, &h)
	if !ok {
		return
	}
	t, ok := n.text(or(h.Want, want))
	if !ok {
		return
	}
	length, err := time.ParseDuration(t.Value)
	if err != nil || length < 0 {
		n.bad("expected %s, found %s", or(h.Want, want), n.foundRaw())
		return
	}
	*v = schema.Time{Value: length, Pos: t.Pos}
}

// Flags implements [schema.Fields].
func (m *visit) Flags(key string, v *schema.Flags, table []schema.Flag, h schema.Help) {
	if n, ok := m.get(key, &h); ok {
		if got, ok := n.flags(table, or(h.Item, "flag")); ok {
			*v = got
		}
	}
}

// List implements [schema.Fields].
func (m *visit) List(key string, l schema.List, h schema.Help) {
	f, ok := m.find(key, &h)
	if !ok {
		return
	}
	if into, ok := l.(schema.Splicer); ok {
		if r := m.d.take(f); r != nil {
			into.Splice(r.list())
			return
		}
	}
	if w, ok := l.(schema.Worded); ok && h.Word != "" && (f.value.plain() || f.value.quoted()) && f.value.n.Value == h.Word {
		*w.Word() = schema.Text{Value: h.Word, Pos: f.value.pos()}
		return
	}
	m.d.items(f.value, l, h)
}

// says reports whether the mapping has one of the keys.
func (m *visit) says(keys []string) bool {
	m.open()
	for _, key := range keys {
		if _, ok := m.got.find(key); ok {
			return true
		}
	}
	return false
}

// items decodes the items of a list.
func (d *decoder) items(v node, l schema.List, h schema.Help) {
	if h.Empty != "" && v.list() && len(v.n.Content) == 0 {
		v.bad("the list is empty; %s", h.Empty)
	}
	if g, ok := l.(schema.Grower); ok && v.list() {
		g.Grow(len(v.n.Content))
	}
	for i, item := range v.items(or(h.Want, "a list")) {
		if h.Most > 0 && i >= h.Most {
			item.bad("%s", h.More)
		}
		l.Add()
		m := d.begin(item, or(h.Item, "a mapping"))
		l.Item(l.Len()-1, m)
		d.end(m)
	}
}

// Map implements [schema.Fields].
func (m *visit) Map(key string, into schema.Map, h schema.Help) {
	f, ok := m.find(key, &h)
	if !ok {
		return
	}
	if whole, ok := into.(schema.Splicer); ok {
		if r := m.d.take(f); r != nil {
			whole.Splice(r.mapping())
			return
		}
	}
	m.d.entries(f.value, into, h)
}

// entries decodes the entries of a mapping from chosen names.
func (d *decoder) entries(v node, into schema.Map, h schema.Help) {
	fields := v.fields(or(h.Want, "a mapping"))
	if h.Empty != "" && fields != nil && len(fields) == 0 {
		v.bad("the mapping is empty; %s", h.Empty)
	}
	drop, drops := into.(schema.Dropper)
	if g, ok := into.(schema.Grower); ok {
		g.Grow(len(fields))
	}
	var at field
	bad := func(format string, args ...any) { d.report(at.key.pos(), at.value, format, args...) }
	for _, at = range fields {
		if !into.Add(schema.Text{Value: at.name, Pos: at.key.pos()}, bad) {
			continue
		}
		before := len(d.problems)
		item := d.begin(at.value, or(h.Item, "a mapping"))
		into.Item(into.Len()-1, item)
		d.end(item)
		if drops && len(d.problems) > before {
			drop.Drop()
		}
	}
}

// Group implements [schema.Fields].
func (m *visit) Group(key string, at *schema.Pos, body func(schema.Fields), h schema.Help) {
	n, ok := m.get(key, &h)
	if !ok {
		return
	}
	*at = n.pos()
	m.d.decode(n, or(h.Want, "a mapping"), body)
}

// Short implements [schema.Fields].
func (m *visit) Short(key string, _ bool, h schema.Help) {
	if m.v.n.Kind != mappingNode {
		m.short = key
	}
	m.want = or(h.Want, m.want)
}

// Either implements [schema.Fields].
func (m *visit) Either(key string, e schema.Either) {
	n, ok := m.get(key, &e.Help)
	if !ok {
		return
	}
	form := e.Whole
	switch {
	case n.n.Kind == yaml.ScalarNode:
		form = e.Scalar
	case n.n.Kind == yaml.SequenceNode && e.List != nil:
		form = e.List
	}
	m.d.decode(n, or(e.Want, "a mapping"), form)
}

// Ends implements [schema.Fields].
func (m *visit) Ends(key string, e schema.Ends) {
	if len(e.Names) == 0 {
		e.Bind(m, key, 0)
		return
	}
	n, ok := m.get(key, &e.Help)
	switch {
	case !ok:
	case e.Spread != nil && n.n.Kind != mappingNode:
		m.d.decode(n, "", func(f schema.Fields) { e.Bind(f, "", 0) })
		e.Spread()
	default:
		m.d.decode(n, or(e.Want, "a mapping from ends ("+strings.Join(e.Names, ", ")+")"), func(f schema.Fields) {
			for end, name := range e.Names {
				e.Bind(f, name, end)
			}
		})
	}
}

// Choice implements [schema.Fields].
func (m *visit) Choice(key string, c schema.Choice, h schema.Help) {
	names := strings.Join(c.Names(), ", ")
	m.want = "a mapping with a " + key + " (" + names + ")"
	before := len(m.d.problems)
	m.quiet = true
	f, ok := m.find(key, &schema.Help{})
	if !ok {
		if m.v.n.Kind == mappingNode {
			m.missing(key, "; it is one of "+names)
		}
		return
	}
	name, ok := f.value.text(h.Want + " (" + names + ")")
	if !ok {
		return
	}
	data, ok := c.Choose(name.Value)
	if !ok {
		hint := ""
		if !m.d.full() {
			if meant := c.Meant(name.Value); meant != "" {
				hint = fmt.Sprintf(" (did you mean %q?)", meant)
			}
		}
		f.value.bad("unknown %s %q%s; expected one of %s", key, abbreviate(name.Value), hint, names)
		return
	}
	m.quiet, m.owner = false, tasktree.WithArticle(name.Value)
	data.Fields(m)
	m.finish()
	if len(m.d.problems) > before {
		c.Spoil()
	}
}

// Place implements [schema.Fields].
func (m *visit) Place(key string, at, alias *schema.Pos) {
	n, ok := m.v, true
	if key != "" {
		m.open()
		n, ok = m.got.get(key)
	}
	if !ok {
		return
	}
	*at = n.pos()
	if alias != nil {
		*alias = n.alias()
	}
}
