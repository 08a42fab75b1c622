package model

import (
	"fmt"
	"slices"

	"regrow/restore/internal/plan"
)

// Disagree compares the prediction with reality, task by task and descriptor by descriptor,
// and returns a line for each difference. really has the outcome of each task, in the order
// of the description.
func (pr *Prediction) Disagree(really []plan.Outcome) []string {
	var differ []string
	for i, want := range pr.Tasks {
		got := really[i]
		wantOp, gotOp := "none", "none"
		if want.Failed != nil {
			wantOp = fmt.Sprintf("op %d, %s", want.Failed.Op, want.Failed.What)
		}
		if got.Failed != nil {
			gotOp = fmt.Sprintf("op %d, %s", got.Failed.Op, got.Failed.What)
		}
		if wantOp != gotOp {
			if got.Failed != nil {
				gotOp += ": " + got.Failed.Why
			}
			differ = append(differ, fmt.Sprintf("task %q: the first op that fails: predicted %s, really %s", want.Name, wantOp, gotOp))
		}
		if want.Shares != got.Shares {
			differ = append(differ, fmt.Sprintf("task %q: shares the table of: predicted %q, really %q", want.Name, want.Shares, got.Shares))
		}
		numbers := map[int]bool{}
		for n := range want.Table {
			numbers[n] = true
		}
		for n := range got.Table {
			numbers[n] = true
		}
		for _, n := range sortedKeys(numbers) {
			w, there := want.Table[n]
			g, really := got.Table[n]
			if w != g || there != really {
				differ = append(differ, fmt.Sprintf("task %q: fd %d: predicted %s, really %s", want.Name, n, heldText(w, there), heldText(g, really)))
			}
		}
	}
	return differ
}

func heldText(h plan.Held, there bool) string {
	switch {
	case !there:
		return "closed"
	case h.Cloexec:
		return h.File + " (close-on-exec)"
	}
	return h.File
}

func sortedKeys[V any](m map[int]V) []int {
	keys := make([]int, 0, len(m))
	for n := range m {
		keys = append(keys, n)
	}
	slices.Sort(keys)
	return keys
}
