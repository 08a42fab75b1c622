package tasktree

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"regrow/tasktree/recipe"
)

// Given is an open file of a description that a descriptor of the caller's replaces.
type Given struct {
	Name string // of the open file, with its end if its kind has ends: "log", "jobs.r"
	FD   int    // the caller's descriptor
	Pos  Pos    // of the replaced entry
}

// KeyError reports a key of a caller's descriptor (--inherit-fd KEY=N) that stands for
// nothing in the tree, or for two things.
type KeyError struct {
	Key string
	FD  int    // the caller's descriptor
	Msg string // what is wrong and what to do
}

// Error returns one line.
func (e *KeyError) Error() string {
	return fmt.Sprintf("the caller's descriptor %d with the key %q: %s", e.FD, e.Key, e.Msg)
}

// GivenError contains all wrong keys, sorted. Nothing was started.
type GivenError struct {
	Source string // name of the description
	Keys   []KeyError
}

// Error returns one line for each key.
func (e *GivenError) Error() string {
	lines := make([]string, len(e.Keys))
	for i := range e.Keys {
		lines[i] = At(e.Source, Pos{}) + ": " + e.Keys[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Replace returns the tree to restore if the caller passes these descriptors, by key. A
// key is the key of an inherit (see [Taken]), which needs no change of the tree. Or it
// is the name of an open file, with its end if its kind has ends. Then the descriptor
// replaces that open file in every task, and nothing that the entry describes is done.
// The other end of a pipe is not affected.
//
// Replace does not change t. It returns t if nothing is replaced, and otherwise a
// checked copy with the positions of the description. The copy cannot be encoded.
// Replacing again by the same keys changes nothing.
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

// Given lists the open files that descriptors of the caller's replace, sorted by
// position: see [Tree.Replace].
func (t *Tree) Given() []Given { return t.given }

// Takes reports whether the caller can pass a descriptor by this key.
func (t *Tree) Takes(key string) bool {
	_, _, msg := t.keys().resolve(key)
	return msg == ""
}

// fileEnd is one open file of the description: one end of an entry.
type fileEnd struct {
	file *OpenFile
	end  int
}

// keys resolves keys.
type keys struct {
	names map[string]fileEnd     // open files by name, with their ends
	files map[string]*OpenFile   // entries by name
	keys  map[string][]*OpenFile // inherits by key
	all   []string               // all valid keys: names in the order of the description, then keys of inherits
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

// resolve resolves a key: to an open file if named, else to the key of an inherit. If
// the key is wrong, msg says why.
func (k *keys) resolve(key string) (at fileEnd, named bool, msg string) {
	at, named = k.names[key]
	inherits := k.keys[key]
	for _, f := range inherits {
		if named && f != at.file {
			return at, false, fmt.Sprintf("it is the key of %q%s and also the name of another open file%s: rename one of them",
				f.Name, atPos(f.Pos), atPos(at.file.Pos))
		}
	}
	switch f := k.files[key]; {
	case len(inherits) > 0 && isStandard(key):
		return at, false, fmt.Sprintf("the key %s always means the caller's own descriptor: leave it out", key)
	case len(inherits) > 0:
		return at, false, ""
	case named:
		return at, true, ""
	case f != nil: // it has ends
		return at, false, fmt.Sprintf("it is %s%s: name one of its ends, %s", WithArticle(f.Spec.Kind()), atPos(f.Pos), endNames(f))
	case isStandard(key):
		return at, false, fmt.Sprintf("the key %s always means the caller's own descriptor: leave it out", key)
	}
	return at, false, noSuchKey
}

const noSuchKey = "no open file of the tree has this name or key"

// known returns a hint for a key that stands for nothing: a similar key, or all keys.
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

// idle reports given keys of inherits that other keys replace anyway.
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
				"open file %q, which has this key, is replaced by the descriptor with the key %q: leave out one of the two keys", inherits[0].Name, by)})
		}
	}
	return wrong
}

func atPos(p Pos) string {
	if !p.IsValid() {
		return ""
	}
	return " at " + p.String()
}

// with returns a checked copy in which descriptors of the caller's replace open files.
func (t *Tree) with(byName map[fileEnd]string) *Tree {
	c := &Tree{Source: t.Source, Dir: t.Dir, Namespaces: t.Namespaces, Scenario: t.Scenario, Root: copyTask(t.Root)}
	for _, f := range t.Files {
		file := *f
		file.Spec = giveEnds(f, byName)
		c.Files = append(c.Files, &file)
	}
	c.Check() // passes, as t has passed it
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

// giveEnds returns the Spec of an entry, some of whose ends may be replaced.
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

// IsGiven reports whether a descriptor of the caller's replaces an open file, or one of
// its ends ([Tree.Replace]).
func IsGiven(s Spec) bool {
	_, given := s.(*givenSpec)
	return given
}

// givenSpec is an entry of which descriptors of the caller's replace some or all ends.
type givenSpec struct {
	Spec           // what the description says
	pos   Pos      // of the entry
	keys  []string // by end: the key of the caller's descriptor that replaces it, "" if none does
	makes bool     // a task uses an end that is not replaced
}

// Check implements [Spec]. The description was checked before.
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

// Make implements [Spec]. It makes the described open file if a task uses an end that is
// not replaced. The Maker closes the ends that no task uses.
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

// Described returns the Spec of the description, without the caller's descriptors that
// replace its ends.
func Described(s Spec) Spec {
	if g, ok := s.(*givenSpec); ok {
		return g.Spec
	}
	return s
}

// GivenEnds returns, for each end of an open file, the key of the caller's descriptor
// that replaces it ("" if none does), and the position of the entry. keys is nil if no
// end is replaced.
func GivenEnds(s Spec) (keys []string, pos Pos) {
	if g, ok := s.(*givenSpec); ok {
		return g.keys, g.pos
	}
	return nil, Pos{}
}
