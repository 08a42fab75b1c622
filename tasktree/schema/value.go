package schema

import (
	"strconv"
	"time"
)

// Pos is a place in a description. Line and Col are 1-based; Col counts
// characters, not bytes. The zero Pos means that the value did not come from a
// description but from a program.
type Pos struct {
	Line, Col int
}

// IsValid reports whether the position names a place.
func (p Pos) IsValid() bool { return p.Line > 0 }

// String gives "LINE:COL", "LINE" where the column is not known, or "" for the
// zero Pos.
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

// Compare orders positions as they stand in the description: negative if p
// comes before q, 0 if they are the same place.
func (p Pos) Compare(q Pos) int {
	if p.Line != q.Line {
		return p.Line - q.Line
	}
	return p.Col - q.Col
}

// Value is a value of the description and its place.
type Value[T comparable] struct {
	Value T
	Pos   Pos

	// Set marks a zero Value that is meant. Only a program needs it: a value
	// that was decoded has a place, and any other Value speaks for itself.
	Set bool
}

// Said reports whether the description has the value, or a program has set it.
func (v Value[T]) Said() bool {
	var zero T
	return v.Set || v.Pos.IsValid() || v.Value != zero
}

// Text is a text with its place.
type Text = Value[string]

// Number is an integer with its place.
type Number = Value[int64]

// Unsigned is an integer from 0 on, with its place.
type Unsigned = Value[uint64]

// Bool is true or false with its place.
type Bool = Value[bool]

// Time is a duration with its place.
type Time = Value[time.Duration]
