package kind

import (
	"maps"
	"slices"
	"strings"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// Kind is what regrow knows of a kind of open file beside its data.
type Kind struct {
	Name string   // the word after "type:"
	Also []string // other words that people try for it, for a hint
	New  func() tasktree.Spec

	// For the reference page, in Markdown.
	Doc     string // what it is, and what is special about it
	Rights  string // what making it needs beside the rights of an ordinary user; "": nothing
	Kernels string // what depends on the kernel; "": nothing

	// Example is entries of a description, whose paths are relative: tests restore
	// them in two tasks, and the reference page shows them. "": none can be without
	// the caller.
	Example string

	// Is reports whether an open file of a live tree is of this kind, by what costs
	// nothing; nil: none ever is. At most one kind says yes.
	Is func(e LiveEnd) bool
}

// Flag is short for the one of package schema, which every kind has.
type Flag = schema.Flag

// Flags is short for the ones of package schema.
type Flags = schema.Flags

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

// Of gives the kind of an open file of a live tree.
func Of(e LiveEnd) (Kind, bool) {
	for _, name := range Names() {
		if k := registry[name]; k.Is != nil && k.Is(e) {
			return k, true
		}
	}
	return Kind{}, false
}

// visible gives the flags of a table that an open file has, out of those that the
// kernel shows: it has others for itself, such as O_LARGEFILE.
func visible(table []Flag, bits int) Flags {
	mask := 0
	for _, f := range table {
		mask |= f.Bits
	}
	return Flags{Bits: bits & mask, Set: true}
}

// Names lists the words that a description may use as a type, sorted.
func Names() []string { return slices.Sorted(maps.Keys(registry)) }
