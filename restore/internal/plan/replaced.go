package plan

import (
	"fmt"

	"regrow/tasktree"
)

// Replaced is an open file that a descriptor of the caller's replaces.
type Replaced struct {
	File string `json:"file"` // its name, with its end if its kind has ends
	FD   int    `json:"fd"`   // the caller's descriptor
	Line int    `json:"line"` // of the file in the description
}

// String returns a message about it.
func (r Replaced) String() string {
	return fmt.Sprintf("file %q is the caller's descriptor %d", r.File, r.FD)
}

// Replacements lists the replaced open files of a tree ([Options].Inherit,
// [tasktree.Tree.Replace]), in the order of the description.
func Replacements(t *tasktree.Tree) (all []Replaced) {
	for _, g := range t.Given() {
		all = append(all, Replaced{g.Name, g.FD, g.Pos.Line})
	}
	return all
}
