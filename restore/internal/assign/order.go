package assign

import (
	"fmt"

	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// Order gives the files that the runner makes, those that are stored: each after the files
// that its recipe uses, otherwise in the order of the description. The error is a
// [*plan.RefusedError]: a file is made out of itself.
func Order(t *tasktree.Tree, stored []bool) ([]int, error) {
	var order []int
	const open, done = 1, 2
	state := make([]uint8, len(t.Files))
	var visit func(i int) error
	visit = func(i int) error {
		switch f := t.Files[i]; {
		case state[i] == done || !stored[i]:
			return nil
		case state[i] == open:
			return &plan.RefusedError{Source: t.Source, Pos: f.Pos, Msg: fmt.Sprintf("file %q is made out of itself, by way of other files; one of them must be made first", f.Name)}
		}
		state[i] = open
		if o, ok := t.Files[i].Spec.(tasktree.Ordered); ok {
			for _, name := range o.Needs() {
				if needed := t.FileNamed(name); needed != nil {
					if err := visit(needed.Index); err != nil {
						return err
					}
				}
			}
		}
		state[i] = done
		order = append(order, i)
		return nil
	}
	for i := range t.Files {
		if err := visit(i); err != nil {
			return nil, err
		}
	}
	return order, nil
}
