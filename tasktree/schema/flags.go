package schema

import (
	"math/bits"
	"slices"
)

// Flag is a name that a list of flags may hold.
type Flag struct {
	Name   string
	Bits   int
	Refuse string // why it cannot be given and what to do instead, "" if it can
}

// Flags is a list of flags.
type Flags struct {
	Bits  int // all bits or'ed together
	Pos   Pos
	Items []FlagItem // as listed
	Set   bool       // no flags at all are meant; as in Value, only a program needs it
}

// FlagItem is one entry of a list of flags.
type FlagItem struct {
	Flag Flag
	Pos  Pos
}

// Has reports whether the list names the flag.
func (f Flags) Has(name string) bool {
	return slices.ContainsFunc(f.Items, func(i FlagItem) bool { return i.Flag.Name == name })
}

// Said reports whether a description has such a list, or a program has set one.
func (f Flags) Said() bool { return f.Set || f.Pos.IsValid() || f.Bits != 0 || len(f.Items) > 0 }

// Names gives the flags by name, as they were listed, or for flags that a program
// has made, those of the bits. Bits that no name of the table covers are left.
func (f Flags) Names(table []Flag) (names []string, left int) {
	if len(f.Items) > 0 {
		for _, item := range f.Items {
			names = append(names, item.Flag.Name)
		}
		return names, 0
	}
	left = f.Bits
	// O_SYNC holds the bit of O_DSYNC: the flag with the most bits comes first.
	byBits := slices.Clone(table)
	slices.SortStableFunc(byBits, func(a, b Flag) int {
		return bits.OnesCount(uint(b.Bits)) - bits.OnesCount(uint(a.Bits))
	})
	for _, flag := range byBits {
		if flag.Bits != 0 && flag.Refuse == "" && left&flag.Bits == flag.Bits {
			left &^= flag.Bits
			names = append(names, flag.Name)
		}
	}
	return names, left
}

// Named finds a flag of the table.
func Named(name string, table []Flag) (Flag, bool) {
	i := slices.IndexFunc(table, func(f Flag) bool { return f.Name == name })
	if i < 0 {
		return Flag{}, false
	}
	return table[i], true
}

// FlagNames lists the names of a table, the refused ones included.
func FlagNames(table []Flag) []string {
	names := make([]string, len(table))
	for i, f := range table {
		names[i] = f.Name
	}
	return names
}
