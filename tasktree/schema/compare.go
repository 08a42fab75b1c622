package schema

// Difference is a key in which two data differ.
type Difference struct {
	Path        string // "flags.r", "targets[2].fd"
	Pos         Pos    // of the first one's value; not valid if it has none
	First, Then string // as they are shown; "" for what is not there
	Moves       bool   // programs change the value as they run: see Help.Moves
}

// Compare lists what then has otherwise than first says. Both are of one type.
// What one of them does not say is not compared, but for entries of a list that
// the other has more; [Help.Compare] says what counts as equal.
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
	for _, e := range second { // more entries of a list
		if !said[e.path] && e.said && e.want != Ignore {
			found = append(found, Difference{Path: e.path, Then: e.text, Moves: e.moves})
		}
	}
	return found
}
