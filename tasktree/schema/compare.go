package schema

// Difference is a key with two different values.
type Difference struct {
	Path        string // "flags.r", "targets[2].fd"
	Pos         Pos    // of the first value; not valid if it has none
	First, Then string // as messages show them; "" for a missing value
	Moves       bool   // running programs change the value: see Help.Moves
}

// Compare lists the values of then that differ from those of first. Both have the same
// type. A key that is not set in one of them is not compared, except that extra entries of
// a list are differences. [Help.Compare] says which values count as equal.
func Compare(first, then Fielder) []Difference {
	var found []Difference
	second := entriesOf(then)
	there := map[string]entry{}
	for _, e := range second {
		there[e.path] = e
	}
	said := map[string]bool{}
	for _, e := range entriesOf(first) {
		said[e.path] = true
		if !e.said || e.want == Ignore {
			continue
		}
		got, ok := there[e.path]
		if ok && (!got.said || got.text == e.text || e.want == AtLeast && got.num >= e.num) {
			continue
		}
		found = append(found, Difference{Path: e.path, Pos: e.pos, First: e.text, Then: got.text, Moves: e.moves})
	}
	for _, e := range second { // extra entries of a list
		if !said[e.path] && e.said && e.want != Ignore {
			found = append(found, Difference{Path: e.path, Then: e.text, Moves: e.moves})
		}
	}
	return found
}
