package schema

import (
	"strconv"
	"time"
)

// Pos is a position in a description. Line and Col are 1-based; Col counts characters,
// not bytes. The zero Pos belongs to a value that a program has set.
type Pos struct {
	Line, Col int
}

// IsValid reports whether p is a position in a description.
func (p Pos) IsValid() bool { return p.Line > 0 }

// String returns "LINE:COL", "LINE" if the column is not known, or "" for the zero Pos.
func (p Pos) String() string {
	switch {
	case !p.IsValid():
		return ""
	case p.Col <= 0:
		return strconv.Itoa(p.Line)
	default:
		return strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Col)
	}
}

// Compare orders positions from the start of the description to its end. It is negative if
// p is before q, and 0 if both are the same.
func (p Pos) Compare(q Pos) int {
	if p.Line != q.Line {
		return p.Line - q.Line
	}
	return p.Col - q.Col
}

// Value is a value of a description and its position.
type Value[T comparable] struct {
	Value T
	Pos   Pos

	// Set marks a zero Value as said. Only a program needs it: a decoded value has a
	// position, and a Value that is not zero counts as said anyway.
	Set bool
}

// Said reports whether the description has the value, or a program has set it.
func (v Value[T]) Said() bool {
	var zero T
	return v.Set || v.Pos.IsValid() || v.Value != zero
}

// Text is a string with its position.
type Text = Value[string]

// Number is an integer with its position.
type Number = Value[int64]

// Unsigned is an unsigned integer with its position.
type Unsigned = Value[uint64]

// Bool is a boolean with its position.
type Bool = Value[bool]

// Time is a duration with its position.
type Time = Value[time.Duration]
