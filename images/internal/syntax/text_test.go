package syntax_test

import (
	"regexp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"regrow/images/internal/syntax"
)

// TestLines compares the lines of any text with those that a regular expression splits.
func TestLines(t *testing.T) {
	end := regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"a", "\n", "\r", "\r\n", "\u0085", "\u2028", "\u2029", "\u2027", "é", "\xc2", "\xe2\x80", "\x85", " "})
		text := ""
		for _, p := range rapid.SliceOf(piece).Draw(t, "pieces") {
			text += p
		}
		if got, want := syntax.Lines(text), end.Split(text, -1); !slices.Equal(got, want) {
			t.Fatalf("%q: %q, want %q", text, got, want)
		}
	})
}
