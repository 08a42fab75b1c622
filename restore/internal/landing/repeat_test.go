package landing_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"regrow/restore/internal/landing"
	"regrow/restore/internal/plan"
)

func TestLongestBorder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := rapid.SliceOfN(rapid.Map(rapid.Int32Range(0, 1), func(n int32) plan.FileEnd { return plan.FileEnd{File: n} }), 0, 12).Draw(t, "files")
		want := 0
		for n := range files {
			if slices.Equal(files[:n], files[len(files)-n:]) {
				want = n
			}
		}
		if got := landing.LongestBorder(files); got != want {
			t.Errorf("%v: %d, want %d", files, got, want)
		}
	})
}
