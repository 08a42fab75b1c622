package images

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// Encode writes the description of a tree. [Decode] makes an equal tree of it, except
// for the positions. The tree need not have passed [tasktree.Tree.Check]: an invalid
// tree has an invalid description.
//
// Relative paths are written unchanged, so the description belongs into the folder
// [tasktree.Tree.Dir]. Of several variables with one name only the last is written,
// which is the one that counts.
//
// The error is one of writing, or names parts of the tree that a description cannot
// express: a kind of open file that package kind does not know, bits of flags without a
// name.
func Encode(w io.Writer, t *tasktree.Tree) error {
	e := &encoder{}
	top := e.mapping(0, 0, "", documentOf(t).Fields)
	if err := errors.Join(e.errs...); err != nil {
		return err
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	err := enc.Encode(top)
	if err == nil {
		err = enc.Close()
	}
	if err != nil {
		return fmt.Errorf("images: %s: %w", tasktree.At(t.Source, tasktree.Pos{}), err)
	}
	return nil
}

// encoder collects the errors.
type encoder struct {
	errs []error
}

func (e *encoder) errorf(format string, args ...any) {
	e.errs = append(e.errs, fmt.Errorf("images: "+format, args...))
}

// writing encodes one value by its declaration.
type writing struct {
	e     *encoder
	entry *yaml.Node   // the mapping
	value *yaml.Node   // of the key "", or of the key that stands for the mapping
	last  []*yaml.Node // keys and values that come after all others
	short string       // the key whose value stands for the mapping
	depth int          // number of enclosing lists that are written over several lines
	group bool         // a group, which is left out if none of its keys is set
	of    string       // what has the keys, in messages: `open file "log": `
}

var _ schema.Fields = (*writing)(nil)

// mapping returns the node of a value.
func (e *encoder) mapping(style yaml.Style, depth int, of string, fields func(schema.Fields)) *yaml.Node {
	w := &writing{e: e, entry: &yaml.Node{Kind: yaml.MappingNode, Style: style}, depth: depth, of: of}
	fields(w)
	if w.value != nil {
		return w.value
	}
	w.entry.Content = append(w.entry.Content, w.last...)
	return w.entry
}

func (w *writing) put(key string, value *yaml.Node, h schema.Help) {
	switch {
	case key == "" || key == w.short:
		w.value = value
	case h.Last:
		w.last = append(w.last, scalar(key), value)
	default:
		w.entry.Content = append(w.entry.Content, scalar(key), value)
	}
}

// demands reports whether a key is written even if it is not set.
func (w *writing) demands(key string, h schema.Help) bool {
	return key == "" || h.Required && !w.group
}

func (w *writing) text(key string, v *schema.Text, h schema.Help) {
	if v.Said() || w.demands(key, h) {
		w.put(key, scalar(v.Value), h)
	}
}

// Text implements [schema.Fields].
func (w *writing) Text(key string, v *schema.Text, h schema.Help) { w.text(key, v, h) }

// Arg implements [schema.Fields].
func (w *writing) Arg(key string, v *schema.Text, h schema.Help) { w.text(key, v, h) }

// Bytes implements [schema.Fields].
func (w *writing) Bytes(key string, v *schema.Text, h schema.Help) { w.text(key, v, h) }

// Word implements [schema.Fields].
func (w *writing) Word(key string, v *schema.Text, _ []string, h schema.Help) { w.text(key, v, h) }

// Ref implements [schema.Fields].
func (w *writing) Ref(key string, v *schema.Text, _ schema.Referent, h schema.Help) {
	w.text(key, v, h)
}

// Int implements [schema.Fields].
func (w *writing) Int(key string, v *schema.Number, i schema.Int) {
	if v.Said() || w.demands(key, i.Help) {
		w.put(key, word(strconv.FormatInt(v.Value, 10)), i.Help)
	}
}

// Uint implements [schema.Fields].
func (w *writing) Uint(key string, v *schema.Unsigned, u schema.Uint) {
	if v.Said() || w.demands(key, u.Help) {
		w.put(key, word(strconv.FormatUint(v.Value, 10)), u.Help)
	}
}

// Mode implements [schema.Fields].
func (w *writing) Mode(key string, v *schema.Number, h schema.Help) {
	if v.Said() || w.demands(key, h) {
		w.put(key, word(fmt.Sprintf("%#o", v.Value)), h) // "0" for 0
	}
}

// Bool implements [schema.Fields].
func (w *writing) Bool(key string, v *schema.Bool, h schema.Help) {
	if v.Said() || w.demands(key, h) {
		w.put(key, word(strconv.FormatBool(v.Value)), h)
	}
}

// Time implements [schema.Fields].
func (w *writing) Time(key string, v *schema.Time, h schema.Help) {
	if v.Said() || w.demands(key, h) {
		w.put(key, word(v.Value.String()), h)
	}
}

// Flags implements [schema.Fields].
func (w *writing) Flags(key string, v *schema.Flags, table []schema.Flag, h schema.Help) {
	if !v.Said() {
		return
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	names, left := v.Names(table)
	for _, name := range names {
		list.Content = append(list.Content, scalar(name))
	}
	if left != 0 {
		w.e.errorf("%s%s: the bits %#x have no name", w.of, key, left)
	}
	w.put(key, list, h)
}

// blockLevels is the number of levels of tasks that are written over several lines. Deeper
// ones are written in one line: with a thousand levels, most of the text would be
// indentation.
const blockLevels = 16

func (w *writing) style(h schema.Help, depth int) yaml.Style {
	if h.Lines && depth <= blockLevels {
		return 0
	}
	return yaml.FlowStyle
}

// List implements [schema.Fields].
func (w *writing) List(key string, l schema.List, h schema.Help) {
	if worded, ok := l.(schema.Worded); ok && worded.Word().Said() {
		w.put(key, word(worded.Word().Value), h)
		return
	}
	if l.Len() == 0 && !w.demands(key, h) {
		return
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: w.style(h, w.depth)}
	for i := range l.Len() {
		list.Content = append(list.Content, w.e.mapping(w.style(h, w.depth+1), w.depth+1, w.of, func(f schema.Fields) { l.Item(i, f) }))
	}
	w.put(key, list, h)
}

// Map implements [schema.Fields].
func (w *writing) Map(key string, m schema.Map, h schema.Help) {
	if m.Len() == 0 && !w.demands(key, h) {
		return
	}
	last := make(map[string]int, m.Len())
	for i := range m.Len() {
		last[m.Key(i)] = i
	}
	entries := &yaml.Node{Kind: yaml.MappingNode, Style: w.style(h, w.depth)}
	for i := range m.Len() {
		if name := m.Key(i); last[name] == i {
			entries.Content = append(entries.Content, scalar(name),
				w.e.mapping(yaml.FlowStyle, w.depth, w.of, func(f schema.Fields) { m.Item(i, f) }))
		}
	}
	w.put(key, entries, h)
}

// Group implements [schema.Fields].
func (w *writing) Group(key string, _ *schema.Pos, body func(schema.Fields), h schema.Help) {
	in := &writing{e: w.e, entry: &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}, depth: w.depth, of: w.of, group: true}
	body(in)
	if len(in.entry.Content) > 0 {
		w.put(key, in.entry, h)
	}
}

// fieldsOf is data that is defined by its declaration alone.
type fieldsOf func(f schema.Fields)

// Fields implements [schema.Fielder].
func (form fieldsOf) Fields(f schema.Fields) { form(f) }

// Either implements [schema.Fields].
func (w *writing) Either(key string, e schema.Either) {
	if len(schema.Said(fieldsOf(e.Whole))) == 0 {
		return
	}
	form := e.Whole
	switch {
	case e.Alone && e.List != nil:
		form = e.List
	case e.Alone:
		form = e.Scalar
	}
	w.put(key, w.e.mapping(yaml.FlowStyle, w.depth, w.of, form), e.Help)
}

// Ends implements [schema.Fields].
func (w *writing) Ends(key string, e schema.Ends) {
	if len(e.Names) == 0 {
		e.Bind(w, key, 0)
		return
	}
	in := &writing{e: w.e, entry: &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}, depth: w.depth, of: w.of, group: true}
	for end, name := range e.Names {
		e.Bind(in, name, end)
	}
	if len(in.entry.Content) > 0 {
		w.put(key, in.entry, e.Help)
	}
}

// Short implements [schema.Fields].
func (w *writing) Short(key string, alone bool, _ schema.Help) {
	if alone {
		w.short = key
	}
}

// Choice implements [schema.Fields].
func (w *writing) Choice(key string, c schema.Choice, h schema.Help) {
	name, data := c.Chosen()
	if f, ok := c.(*fileKind); ok {
		w.of = fmt.Sprintf("open file %q: ", f.Name)
		if !w.e.encodes((*tasktree.OpenFile)(f)) {
			return
		}
	}
	w.put(key, scalar(name), h)
	data.Fields(w)
}

// Place implements [schema.Fields].
func (*writing) Place(string, *schema.Pos, *schema.Pos) {}

// encodes reports whether a description can express an open file.
func (e *encoder) encodes(f *tasktree.OpenFile) bool {
	if f.Spec == nil {
		e.errorf("open file %q has no type", f.Name)
		return false
	}
	if tasktree.IsGiven(f.Spec) {
		e.errorf("open file %q is a descriptor of the caller's; encode the tree that was not changed by Replace", f.Name)
		return false
	}
	if _, ok := kind.Lookup(f.Spec.Kind()); !ok {
		e.errorf("open file %q: the type %q is unknown", f.Name, f.Spec.Kind())
		return false
	}
	return true
}

// word is a scalar without quotes.
func word(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// needsNoQuotes matches strings that need no quotes anywhere in a description. All others
// are written in double quotes, which have an escape for every character.
var needsNoQuotes = regexp.MustCompile(`^-{0,2}[A-Za-z0-9_/.][A-Za-z0-9_/.+=@%~-]*$`)

// scalar is a string. If it is not UTF-8, yaml.v3 writes it as !!binary.
func scalar(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: s}
	if !needsNoQuotes.MatchString(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
