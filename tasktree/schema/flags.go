package schema

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// Flag is a name that a list of flags may contain.
type Flag struct {
	Name   string
	Bits   int
	Refuse string // why it is refused and what to do instead; "" if it is allowed
}

// Flags is a list of flags.
type Flags struct {
	Bits  int // the bits of all flags
	Pos   Pos
	Items []FlagItem // in the order of the description
	Set   bool       // marks an empty list as said, see Value.Set
}

// FlagItem is one entry of a list of flags.
type FlagItem struct {
	Flag Flag
	Pos  Pos
}

// Has reports whether the list contains the flag.
func (f Flags) Has(name string) bool {
	return slices.ContainsFunc(f.Items, func(i FlagItem) bool { return i.Flag.Name == name })
}

// Said reports whether a description has the list, or a program has set it.
func (f Flags) Said() bool { return f.Set || f.Pos.IsValid() || f.Bits != 0 || len(f.Items) > 0 }

// Names returns the names of the flags as they were listed, or, for flags that a program
// has set, the names of their bits. left are the bits without a name in the table.
func (f Flags) Names(table []Flag) (names []string, left int) {
	if len(f.Items) > 0 {
		for _, item := range f.Items {
			names = append(names, item.Flag.Name)
		}
		return names, 0
	}
	left = f.Bits
	// Flags with more bits first: O_SYNC includes the bit of O_DSYNC.
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

// Named returns the flag of that name.
func Named(name string, table []Flag) (Flag, bool) {
	i := slices.IndexFunc(table, func(f Flag) bool { return f.Name == name })
	if i < 0 {
		return Flag{}, false
	}
	return table[i], true
}

// FlagNames lists the names of a table, including refused flags.
func FlagNames(table []Flag) []string {
	names := make([]string, len(table))
	for i, f := range table {
		names[i] = f.Name
	}
	return names
}

// Shows gives bits as messages show them: "[O_RDWR, O_APPEND]".
func Shows(bits int, table []Flag) string {
	names, left := Flags{Bits: bits}.Names(table)
	if left != 0 {
		names = append(names, fmt.Sprintf("%#x", left))
	}
	for _, flag := range table { // O_RDONLY is no bit
		if flag.Bits == 0 && flag.Refuse == "" && len(names) == 0 {
			names = append(names, flag.Name)
		}
	}
	return "[" + strings.Join(names, ", ") + "]"
}
