package report

import (
	"slices"
	"testing"

	"regrow/internal/proc"
)

// TestHostPIDsMissed checks that hostPIDs finds a task that its first passes have missed, and
// stops if a task is gone.
func TestHostPIDsMissed(t *testing.T) {
	self, err := proc.Self()
	if err != nil {
		t.Fatal(err)
	}
	const root, kept, gone = 1, 2, 3 // numbers in the tree
	here := []proc.Status{{ID: self}}
	for _, c := range []struct {
		name     string
		late     int // passes that miss the task
		missed   int // what a pass reports as missed
		want     int
		maxLooks int
	}{
		{"found at once", 0, 0, self.PID, 1},
		{"missed twice", 2, 1, self.PID, 8},
		{"ended", 1 << 20, 0, 0, 1},
		{"ended, among many that end", 1 << 20, 5, 0, 8},
	} {
		looks := 0
		below := func() ([]proc.Status, int) {
			if looks++; looks > c.late {
				return here, 0
			}
			return nil, c.missed
		}
		got := hostPIDs(4711, []int{root, kept, gone}, below, func(int) int { return kept })
		if want := []int{4711, c.want, 0}; !slices.Equal(got, want) || looks > c.maxLooks {
			t.Errorf("%s: %v after %d passes, want %v", c.name, got, looks, want)
		}
	}
}
