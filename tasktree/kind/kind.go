package kind

import (
	"maps"
	"slices"
	"strings"

	"regrow/tasktree"
)

// Kind is how one kind of open file is written in a description.
type Kind struct {
	Name     string   // the word after "type:"
	Keys     []string // the keys it takes besides type; images refuses all others
	Also     []string // other words that people try for it, for a hint
	Required []string // the ones among Keys that must be there; images reports what is missing
	Decode   func(Decoder) tasktree.Spec
	Encode   func(tasktree.Spec, Encoder) // the way back, for a Spec that this kind has made
}

// Decoder gives a kind the values of its entry. Package images implements it.
// Each method reports a value of the wrong form by itself, with its position,
// and then returns ok false, as it does for a key that is not there; so a kind
// never reports what a Decoder has already reported, and may go on with the
// zero value.
type Decoder interface {
	// Text is the source text of a scalar: not null, not empty, no NUL byte.
	Text(key string) (v tasktree.Text, ok bool)

	// Content is like Text, but may be empty and may hold any byte.
	Content(key string) (v tasktree.Text, ok bool)

	// Int is a decimal integer from lo to hi.
	Int(key string, lo, hi int64) (v tasktree.Number, ok bool)

	// Mode is a file mode, 0 to 07777: octal with a leading 0 or 0o, or
	// in quotes, with or without these.
	Mode(key string) (v tasktree.Number, ok bool)

	// Flags is a list of names out of table.
	Flags(key string, table []Flag) (v Flags, ok bool)

	// FlagsByEnd is a mapping from ends to lists of names out of table. The
	// result is indexed like ends; an end that is not there is empty.
	FlagsByEnd(key string, ends []string, table []Flag) (v []Flags, ok bool)
}

// Encoder takes the values of an entry from a kind, as [Decoder] gives them: a
// kind calls it for what its entry says, in the order in which it is to be
// written. Package images implements it.
type Encoder interface {
	// Text writes any text, also what Decoder calls content.
	Text(key string, v tasktree.Text)

	// Int writes a decimal integer.
	Int(key string, v tasktree.Number)

	// Mode writes a file mode.
	Mode(key string, v tasktree.Number)

	// Flags writes a list of names out of table.
	Flags(key string, table []Flag, v Flags)

	// FlagsByEnd writes the lists of the ends that have said something.
	FlagsByEnd(key string, ends []string, table []Flag, v []Flags)
}

// Flag is a name that a list of flags may hold.
type Flag struct {
	Name   string
	Bits   int
	Refuse string // why it cannot be given and what to do instead, "" if it can
}

// Flags is a decoded list of flags.
type Flags struct {
	Bits  int // all bits or'ed together
	Pos   tasktree.Pos
	Items []FlagItem // as listed
}

// FlagItem is one entry of a list of flags.
type FlagItem struct {
	Flag Flag
	Pos  tasktree.Pos
}

// Has reports whether the list names the flag.
func (f Flags) Has(name string) bool {
	return slices.ContainsFunc(f.Items, func(i FlagItem) bool { return i.Flag.Name == name })
}

// Said reports whether a description has such a list, or a program has set one.
func (f Flags) Said() bool { return f.Pos.IsValid() || f.Bits != 0 || len(f.Items) > 0 }

// registry is written by the init functions of this package's files and only
// read afterwards.
var registry = map[string]Kind{}

func register(k Kind) { registry[k.Name] = k }

// Lookup gives the kind that a description calls name.
func Lookup(name string) (Kind, bool) {
	k, ok := registry[name]
	return k, ok
}

// Meant gives the word of the kind that somebody most likely meant by another
// word, or "".
func Meant(word string) string {
	lower := strings.ToLower(word)
	for _, name := range Names() {
		if lower != "" && slices.Contains(registry[name].Also, lower) {
			return name
		}
	}
	return tasktree.Nearest(word, Names())
}

// Names lists the words that a description may use as a type, sorted.
func Names() []string { return slices.Sorted(maps.Keys(registry)) }
