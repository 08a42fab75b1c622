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
}

// Flag and Flags are short for the ones of package schema, which every kind has.
type (
	Flag  = schema.Flag
	Flags = schema.Flags
)

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
