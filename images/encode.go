package images

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"regexp"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"

	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// Encode writes a description of a tree: [Decode] makes an equal tree of it, but
// for the positions. It is for trees that a program has made, so [Tree.Check] is
// not asked for: what is wrong with a tree is wrong with its description, too.
//
// Relative paths are written as they are, so the description belongs into the
// folder [tasktree.Tree.Dir]. Of variables with one name only the last is
// written, since it is the one that counts.
//
// The error is one of writing, or says what has no form in a description: a kind
// of open file that package kind does not know, bits of flags that have no name.
func Encode(w io.Writer, t *tasktree.Tree) error {
	e := &encoder{}
	doc := e.tree(t)
	if err := errors.Join(e.errs...); err != nil {
		return err
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	err := enc.Encode(doc)
	if err == nil {
		err = enc.Close()
	}
	if err != nil {
		return fmt.Errorf("images: %s: %w", tasktree.At(t.Source, tasktree.Pos{}), err)
	}
	return nil
}

// encoder collects what cannot be written.
type encoder struct {
	errs []error
}

func (e *encoder) errorf(format string, args ...any) {
	e.errs = append(e.errs, fmt.Errorf("images: "+format, args...))
}

func (e *encoder) tree(t *tasktree.Tree) *yaml.Node {
	top := mapping(0)
	put(top, "version", number(tasktree.Version))
	if t.Scenario != nil {
		e.scenario(t.Scenario, top)
	}
	if len(t.Namespaces) > 0 {
		list := sequence(yaml.FlowStyle)
		for _, n := range t.Namespaces {
			list.Content = append(list.Content, scalar(string(n.Name)))
		}
		put(top, "namespaces", list)
	}
	if len(t.Files) > 0 {
		files := mapping(0)
		for _, f := range t.Files {
			put(files, f.Name, e.file(f))
		}
		put(top, "files", files)
	}
	roots := sequence(0)
	if t.Root != nil {
		roots.Content = append(roots.Content, e.task(t.Root, 1))
	}
	put(top, "tasks", roots)
	return top
}

// file encodes one open file by its kind.
func (e *encoder) file(f *tasktree.OpenFile) *yaml.Node {
	entry := mapping(yaml.FlowStyle)
	if f.Spec == nil {
		e.errorf("open file %q has no type", f.Name)
		return entry
	}
	if tasktree.IsGiven(f.Spec) {
		e.errorf("open file %q is a descriptor of the caller's; encode the tree that was not changed by Replace", f.Name)
		return entry
	}
	put(entry, "type", scalar(f.Spec.Kind()))
	k, ok := kind.Lookup(f.Spec.Kind())
	if !ok {
		e.errorf("open file %q: no description has the type %q", f.Name, f.Spec.Kind())
		return entry
	}
	k.Encode(f.Spec, &kindEncoder{e: e, file: f.Name, entry: entry})
	return entry
}

// task encodes a task and everything below it.
func (e *encoder) task(t *tasktree.Task, depth int) *yaml.Node {
	// Deeper ones are written in one line: the indentation of a thousand
	// levels would be most of the text.
	const blockLevels = 16
	var style yaml.Style
	if depth > blockLevels {
		style = yaml.FlowStyle
	}
	entry := mapping(style)
	put(entry, "name", scalar(t.Name))
	if t.PID.Value != 0 {
		put(entry, "pid", number(t.PID.Value))
	}
	if len(t.FDs) > 0 {
		fds := mapping(yaml.FlowStyle)
		for _, d := range t.FDs {
			file := scalar(d.File.Value)
			if d.Cloexec {
				file = mapping(yaml.FlowStyle)
				put(file, "file", scalar(d.File.Value))
				put(file, "cloexec", word("true"))
			}
			fds.Content = append(fds.Content, number(int64(d.FD)), file)
		}
		put(entry, "fds", fds)
	}
	if t.SharesFiles.Value != "" {
		shares := mapping(yaml.FlowStyle)
		put(shares, "files", scalar(t.SharesFiles.Value))
		put(entry, "shares", shares)
	}
	e.program(t, entry)
	if len(t.Children) > 0 {
		list := sequence(style)
		for _, child := range t.Children {
			list.Content = append(list.Content, e.task(child, depth+1))
		}
		put(entry, "children", list)
	}
	return entry
}

// program encodes what a task runs and how.
func (e *encoder) program(t *tasktree.Task, entry *yaml.Node) {
	if t.Run != nil {
		list := sequence(yaml.FlowStyle)
		for _, arg := range t.Run {
			list.Content = append(list.Content, scalar(arg.Value))
		}
		put(entry, "run", list)
	}
	if len(t.Env) > 0 {
		last := make(map[string]int, len(t.Env))
		for i, v := range t.Env {
			last[v.Name] = i
		}
		env := mapping(yaml.FlowStyle)
		for i, v := range t.Env {
			if last[v.Name] == i {
				put(env, v.Name, scalar(v.Value))
			}
		}
		put(entry, "env", env)
	}
	if t.EnvClear {
		put(entry, "env_clear", word("true"))
	}
	if t.Cwd.Value != "" {
		put(entry, "cwd", scalar(t.Cwd.Value))
	}
}

// kindEncoder takes the values of one open file.
type kindEncoder struct {
	e     *encoder
	file  string
	entry *yaml.Node
}

var _ kind.Encoder = (*kindEncoder)(nil)

// Text implements [kind.Encoder].
func (k *kindEncoder) Text(key string, v tasktree.Text) { put(k.entry, key, scalar(v.Value)) }

// Int implements [kind.Encoder].
func (k *kindEncoder) Int(key string, v tasktree.Number) { put(k.entry, key, number(v.Value)) }

// Mode implements [kind.Encoder].
func (k *kindEncoder) Mode(key string, v tasktree.Number) {
	put(k.entry, key, word(fmt.Sprintf("0%o", v.Value)))
}

// Flags implements [kind.Encoder].
func (k *kindEncoder) Flags(key string, table []kind.Flag, v kind.Flags) {
	put(k.entry, key, k.flags(key, table, v))
}

// FlagsByEnd implements [kind.Encoder].
func (k *kindEncoder) FlagsByEnd(key string, ends []string, table []kind.Flag, v []kind.Flags) {
	byEnd := mapping(yaml.FlowStyle)
	for i, end := range ends {
		if v[i].Said() {
			put(byEnd, end, k.flags(key, table, v[i]))
		}
	}
	put(k.entry, key, byEnd)
}

// flags gives the names of flags: as they were listed, or for flags that a
// program has made, those of the bits.
func (k *kindEncoder) flags(key string, table []kind.Flag, v kind.Flags) *yaml.Node {
	list := sequence(yaml.FlowStyle)
	for _, item := range v.Items {
		list.Content = append(list.Content, scalar(item.Flag.Name))
	}
	left := v.Bits
	if len(v.Items) > 0 {
		left = 0
	}
	// O_SYNC holds the bit of O_DSYNC: the flag with the most bits comes first.
	byBits := slices.Clone(table)
	slices.SortStableFunc(byBits, func(a, b kind.Flag) int {
		return bits.OnesCount(uint(b.Bits)) - bits.OnesCount(uint(a.Bits))
	})
	for _, f := range byBits {
		if f.Bits != 0 && f.Refuse == "" && left&f.Bits == f.Bits {
			left &^= f.Bits
			list.Content = append(list.Content, scalar(f.Name))
		}
	}
	if left != 0 {
		k.e.errorf("open file %q: %s: the bits %#x have no name", k.file, key, left)
	}
	return list
}

func mapping(style yaml.Style) *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Style: style} }

func sequence(style yaml.Style) *yaml.Node { return &yaml.Node{Kind: yaml.SequenceNode, Style: style} }

func put(m *yaml.Node, key string, value *yaml.Node) {
	m.Content = append(m.Content, scalar(key), value)
}

func number(n int64) *yaml.Node { return word(strconv.FormatInt(n, 10)) }

// word is a scalar that must stand without quotes.
func word(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// needsNoQuotes matches texts that are themselves in any place of a description.
// Others would need less than double quotes, too, but those have an escape for
// every character.
var needsNoQuotes = regexp.MustCompile(`^-{0,2}[A-Za-z0-9_/.][A-Za-z0-9_/.+=@%~-]*$`)

// scalar is a text. One that is not UTF-8 becomes !!binary.
func scalar(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: s}
	if !needsNoQuotes.MatchString(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
