package tasktree

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"regrow/tasktree/recipe"
)

// Given is an open file of a description in whose place a descriptor of the
// caller's comes.
type Given struct {
	Name string // of the open file, with its end where its kind has ends: "log", "jobs.r"
	FD   int    // the caller's descriptor
	Pos  Pos    // of the entry that is not made
}

// KeyError says that a key by which a descriptor of the caller's is given names
// nothing in the tree, or not one thing.
type KeyError struct {
	Key string
	FD  int    // the caller's descriptor
	Msg string // what is wrong and what to do
}

// Error names the key.
func (e *KeyError) Error() string {
	return fmt.Sprintf("the caller's descriptor %d with the key %q: %s", e.FD, e.Key, e.Msg)
}

// GivenError has all keys that are wrong, sorted. Nothing was started.
type GivenError struct {
	Source string // name of the description
	Keys   []KeyError
}

// Error gives one line for each key.
func (e *GivenError) Error() string {
	lines := make([]string, len(e.Keys))
	for i := range e.Keys {
		lines[i] = At(e.Source, Pos{}) + ": " + e.Keys[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Replace gives the tree as it is restored if the caller gives descriptors, by
// key. A key is that of an inherit ([Taken]): this needs no change
// of the tree. Else it is the name of an open file, with its end where its kind
// has ends: the descriptor then takes the place of that file for every task, and
// nothing that the entry says of it is done. The other end of a pipe stays what
// it is.
//
// t is not changed. It is the answer if nothing is replaced; otherwise that is a
// checked copy, in which positions are those of the description. It has no
// written form. Replacing once more by the same keys changes nothing.
//
// The error is a [*GivenError]. Preconditions: t has passed Check.
func (t *Tree) Replace(given map[string]int) (*Tree, error) {
	if len(given) == 0 && len(t.given) == 0 {
		return t, nil
	}
	k := t.keys()
	var wrong []KeyError
	byName := map[fileEnd]string{}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		at, named, msg := k.resolve(key)
		switch {
		case msg != "":
			wrong = append(wrong, KeyError{key, given[key], msg + k.known(key, msg)})
		case named:
			byName[at] = key
		}
	}
	wrong = append(wrong, k.idle(given, byName)...)
	if len(wrong) > 0 {
		return nil, &GivenError{t.Source, wrong}
	}
	var list []Given
	for at, key := range byName {
		list = append(list, Given{at.file.EndName(at.end), given[key], at.file.Pos})
	}
	slices.SortFunc(list, func(a, b Given) int {
		if d := a.Pos.Compare(b.Pos); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	if slices.Equal(list, t.given) {
		return t, nil
	}
	c := t.with(byName)
	c.given = list
	return c, nil
}

// Given lists what descriptors of the caller's take the place of, by position:
// see [Tree.Replace].
func (t *Tree) Given() []Given { return t.given }

// Takes reports whether a descriptor of the caller's can be given by this key.
func (t *Tree) Takes(key string) bool {
	_, _, msg := t.keys().resolve(key)
	return msg == ""
}

// fileEnd is one open file of the description: one end of one entry.
type fileEnd struct {
	file *OpenFile
	end  int
}

// keys is what a key can stand for.
type keys struct {
	names map[string]fileEnd     // every open file by its name, with its end
	files map[string]*OpenFile   // every entry
	keys  map[string][]*OpenFile // inherits by their key
	all   []string               // what can be given: names in the order of the description, then keys
}

func (t *Tree) keys() *keys {
	k := &keys{names: map[string]fileEnd{}, files: map[string]*OpenFile{}, keys: map[string][]*OpenFile{}}
	for _, f := range t.Files {
		k.files[f.Name] = f
		for end := range max(1, len(f.Spec.Ends())) {
			k.names[f.EndName(end)] = fileEnd{f, end}
			k.all = append(k.all, f.EndName(end))
		}
		if IsGiven(f.Spec) {
			continue
		}
		if key := CallerKey(f.Spec); key != "" {
			k.keys[key] = append(k.keys[key], f)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(k.keys)) {
		if _, isName := k.names[key]; !isName && !isStandard(key) {
			k.all = append(k.all, key)
		}
	}
	return k
}

func isStandard(key string) bool {
	return key == "stdin" || key == "stdout" || key == "stderr"
}

// resolve tells what a key stands for: an open file, if named, else an inherit's
// key; or what is wrong with it.
func (k *keys) resolve(key string) (at fileEnd, named bool, msg string) {
	at, named = k.names[key]
	inherits := k.keys[key]
	for _, f := range inherits {
		if named && f != at.file {
			return at, false, fmt.Sprintf("it is the key of %q%s and the name of another open file%s: give one of them another name",
				f.Name, placed(f.Pos), placed(at.file.Pos))
		}
	}
	switch f := k.files[key]; {
	case len(inherits) > 0 && isStandard(key):
		return at, false, fmt.Sprintf("the key %s is given already: it is the caller's own", key)
	case len(inherits) > 0:
		return at, false, ""
	case named:
		return at, true, ""
	case f != nil: // it has ends
		return at, false, fmt.Sprintf("it is %s%s: name one of its ends, %s", WithArticle(f.Spec.Kind()), placed(f.Pos), endNames(f))
	case isStandard(key):
		return at, false, fmt.Sprintf("the key %s is given already: it is the caller's own", key)
	}
	return at, false, noSuchKey
}

const noSuchKey = "no open file of the tree has this name or key"

// known adds to a key that names nothing what may be meant, or what there is.
func (k *keys) known(key, msg string) string {
	if msg != noSuchKey {
		return ""
	}
	if hint := DidYouMean(key, k.all); hint != "" {
		return hint
	}
	if name, _, dotted := strings.Cut(key, "."); dotted && k.files[name] != nil {
		if f := k.files[name]; len(f.Spec.Ends()) > 0 {
			return " (its ends are " + endNames(f) + ")"
		}
		return fmt.Sprintf(" (%s has no ends: write %q)", WithArticle(k.files[name].Spec.Kind()), name)
	}
	const most = 10
	switch n := len(k.all); {
	case n == 0:
		return " (it has none)"
	case n > most:
		return fmt.Sprintf(" (there are %s and %d more)", strings.Join(k.all[:most], ", "), n-most)
	}
	return fmt.Sprintf(" (there are %s)", strings.Join(k.all, ", "))
}

// idle finds keys of inherits that are all replaced by their names.
func (k *keys) idle(given map[string]int, byName map[fileEnd]string) (wrong []KeyError) {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		inherits := k.keys[key]
		if len(inherits) == 0 {
			continue
		}
		replaced := slices.IndexFunc(inherits, func(f *OpenFile) bool { return byName[fileEnd{f, 0}] == "" }) < 0
		if replaced {
			by := byName[fileEnd{inherits[0], 0}]
			wrong = append(wrong, KeyError{key, given[key], fmt.Sprintf(
				"%q, which has this key, is replaced by the descriptor with the key %q: leave one of them out", inherits[0].Name, by)})
		}
	}
	return wrong
}

func placed(p Pos) string {
	if !p.IsValid() {
		return ""
	}
	return " at " + p.String()
}

// with gives a checked copy with descriptors of the caller's in the place of open
// files.
func (t *Tree) with(byName map[fileEnd]string) *Tree {
	c := &Tree{Source: t.Source, Dir: t.Dir, Namespaces: t.Namespaces, Scenario: t.Scenario, Root: copyTask(t.Root)}
	for _, f := range t.Files {
		file := *f
		file.Spec = giveEnds(f, byName)
		c.Files = append(c.Files, &file)
	}
	c.Check() // as t, which has passed it
	return c
}

func copyTask(t *Task) *Task {
	c := *t
	c.FDs = slices.Clone(t.FDs)
	c.Children = make([]*Task, len(t.Children))
	for i, child := range t.Children {
		c.Children[i] = copyTask(child)
	}
	return &c
}

// giveEnds gives what is to be made of an entry some of whose ends may be given.
func giveEnds(f *OpenFile, byName map[fileEnd]string) Spec {
	made := f.Spec
	if g, again := made.(*givenSpec); again {
		made = g.Spec
	}
	g := &givenSpec{Spec: made, pos: f.Pos, keys: make([]string, max(1, len(made.Ends())))}
	some := false
	for end := range g.keys {
		g.keys[end] = byName[fileEnd{f, end}]
		some = some || g.keys[end] != ""
	}
	if !some {
		return made
	}
	for _, u := range f.Uses {
		g.makes = g.makes || g.keys[u.End] == ""
	}
	return g
}

// IsGiven reports whether an open file is, by [Tree.Replace], a descriptor of the
// caller's, or has an end that is one.
func IsGiven(s Spec) bool {
	_, given := s.(*givenSpec)
	return given
}

// givenSpec is an entry some or all of whose ends are descriptors of the
// caller's.
type givenSpec struct {
	Spec           // what the description says
	pos   Pos      // of the entry
	keys  []string // by end: the caller's descriptor that takes its place, "" for an end that is made
	makes bool     // a task uses an end that is not given
}

// Check implements [Spec]: what the description says was checked before.
func (*givenSpec) Check(*Tree, func(Problem)) {}

// Warn implements [Warner].
func (g *givenSpec) Warn(t *Tree, report func(Problem)) {
	if w, ok := g.Spec.(Warner); ok && g.makes {
		w.Warn(t, report)
	}
}

// Traits implements [Spec].
func (g *givenSpec) Traits(t *Tree) Traits {
	traits := Traits{}
	if g.makes {
		traits = g.Spec.Traits(t)
	}
	traits.ByRunner = true
	return traits
}

// CallerKey implements [Taken].
func (g *givenSpec) CallerKey() string {
	if g.makes {
		return CallerKey(g.Spec)
	}
	return g.keys[slices.IndexFunc(g.keys, func(key string) bool { return key != "" })]
}

// Host implements [Needy].
func (g *givenSpec) Host(t *Tree) []recipe.Need {
	if needy, ok := g.Spec.(Needy); ok && g.makes {
		return needy.Host(t)
	}
	return nil
}

// Make implements [Spec]: it makes what the description says, if a task uses an
// end that is not given. An end that is made and not wanted is closed by the Maker.
func (g *givenSpec) Make(t *Tree, m recipe.Maker) []recipe.Ref {
	if !g.makes {
		return nil
	}
	return g.Spec.Make(t, m)
}

// Fill implements [Filled].
func (g *givenSpec) Fill(t *Tree, m recipe.Maker) {
	if filled, ok := g.Spec.(Filled); ok && g.makes {
		filled.Fill(t, m)
	}
}

// Shape implements [Shaped].
func (g *givenSpec) Shape(t *Tree, m recipe.Maker) {
	if shaped, ok := g.Spec.(Shaped); ok && g.makes {
		shaped.Shape(t, m)
	}
}

// Described gives what the description says of an open file, whatever takes the place of
// its ends.
func Described(s Spec) Spec {
	if g, ok := s.(*givenSpec); ok {
		return g.Spec
	}
	return s
}

// GivenEnds gives, for each end of an open file, the key of the caller's descriptor
// that takes its place, "" for one that is made, and the place of the entry. It is
// nil where all is as described.
func GivenEnds(s Spec) (keys []string, pos Pos) {
	if g, ok := s.(*givenSpec); ok {
		return g.keys, g.pos
	}
	return nil, Pos{}
}
