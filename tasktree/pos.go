package tasktree

import "strconv"

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

// Text is a string of the description and its place.
type Text struct {
	Value string
	Pos   Pos
}

// Number is an integer of the description and its place.
type Number struct {
	Value int64
	Pos   Pos
}
