package rounds

import (
	"fmt"
	"slices"
	"testing"
)

// TestChoose checks that the tests of always are in every part and each other test is in
// one, and that the seed determines which.
func TestChoose(t *testing.T) {
	var all []string
	for i := range 23 {
		all = append(all, fmt.Sprint("Test", i))
	}
	always := []string{"Test7", "Test20"}
	const n = 4
	first := map[string]bool{}
	for seed := range 10 {
		count := map[string]int{}
		for k := 1; k <= n; k++ {
			chosen, err := choose(all, always, k, n, seed)
			if err != nil {
				t.Fatal(err)
			}
			if len(chosen) < len(always)+5 || len(chosen) > len(always)+6 {
				t.Errorf("seed %d, part %d: %v", seed, k, chosen)
			}
			for _, name := range chosen {
				count[name]++
			}
			if k == 1 {
				first[fmt.Sprint(chosen)] = true
			}
		}
		for _, name := range all {
			if want := map[bool]int{false: 1, true: n}[slices.Contains(always, name)]; count[name] != want {
				t.Errorf("seed %d: %s is in %d parts, want %d", seed, name, count[name], want)
			}
		}
	}
	if len(first) < 5 {
		t.Errorf("10 seeds give %d first parts", len(first))
	}
	if _, err := choose(all, []string{"TestGone"}, 1, n, 1); err == nil {
		t.Error("a test that does not exist was accepted")
	}
}
