package drawn

import (
	"testing"

	"pgregory.net/rapid"
)

// TestFuzz checks that inputs determine the draws, and that no input is too short.
func TestFuzz(t *testing.T) {
	seen := map[int]bool{}
	target := Fuzz(func(t *rapid.T) {
		first := rapid.Int().Draw(t, "first")
		seen[first] = true
		if list := rapid.SliceOfN(rapid.Byte(), 1000, 1000).Draw(t, "list"); len(list) != 1000 {
			t.Fatal(len(list))
		}
	})
	inputs := []string{"", "a", "another input that is longer than one draw"}
	for _, input := range inputs {
		t.Run(input, func(t *testing.T) { target(t, []byte(input)) })
	}
	if len(seen) != len(inputs) {
		t.Errorf("%d inputs have drawn %v", len(inputs), seen)
	}
}
