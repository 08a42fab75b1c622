package plan

import (
	"fmt"

	"regrow/tasktree"
)

// Replaced is an open file in whose place a descriptor of the caller's comes.
type Replaced struct {
	File string `json:"file"` // its name, with its end where it has two
	FD   int    `json:"fd"`   // the caller's descriptor
	Line int    `json:"line"` // of the description, where the file stands
}

// String says so in words.
func (r Replaced) String() string {
	return fmt.Sprintf("file %q is the caller's descriptor %d", r.File, r.FD)
}

// Replacements lists what is replaced in a tree, by [Options].Inherit or
// [tasktree.Tree.Replace], in the order of the description.
func Replacements(t *tasktree.Tree) (all []Replaced) {
	for _, g := range t.Given() {
		all = append(all, Replaced{g.Name, g.FD, g.Pos.Line})
	}
	return all
}
