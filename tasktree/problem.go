package tasktree

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
)

// Problem is an error in a description, or a warning about something that is likely a
// mistake.
type Problem struct {
	Pos  Pos
	Path string // key path: "tasks[0].children[2].fds.7"; "" for the whole document
	Msg  string // what is wrong, and what to do
}

// String returns "LINE:COL: PATH: MESSAGE", without the parts that are not known.
func (p Problem) String() string {
	var b strings.Builder
	for _, part := range []string{p.Pos.String(), p.Path, p.Msg} {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	return b.String()
}

// SortProblems sorts by position, then key path, then message, and drops duplicates. It
// works in place and returns the shortened slice.
func SortProblems(ps []Problem) []Problem {
	slices.SortFunc(ps, func(a, b Problem) int {
		return cmp.Or(a.Pos.Compare(b.Pos), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(ps)
}

// InvalidError reports that a description is invalid. Nothing was started.
type InvalidError struct {
	Source   string    // name of the description, as messages show it
	Problems []Problem // sorted, at least one
}

// Error returns one line for each problem, "SOURCE:LINE:COL: PATH: MESSAGE".
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = At(e.Source, p.Pos) + ": " + Problem{Path: p.Path, Msg: p.Msg}.String()
	}
	return strings.Join(lines, "\n")
}

// At returns "SOURCE:LINE:COL", with which messages begin, without the parts that are not
// known.
func At(source string, pos Pos) string {
	if source == "" {
		source = "tree"
	}
	if !pos.IsValid() {
		return source
	}
	return source + ":" + pos.String()
}

// WithArticle returns "a pipe" for "pipe", and "an inherit" for "inherit". Of the words that
// it is for, those with u begin with a consonant when spoken: "a unix", "a udp".
func WithArticle(word string) string {
	if word != "" && strings.ContainsRune("aeio", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}

// DidYouMean returns ` (did you mean "x"?)` for the candidate nearest to word, or "" if
// none is near enough for a typing error.
func DidYouMean(word string, candidates []string) string {
	if best := Nearest(word, candidates); best != "" {
		return fmt.Sprintf(" (did you mean %q?)", best)
	}
	return ""
}

// Nearest returns the candidate that word was probably meant to be, or "". Of equally near
// candidates it returns the first.
func Nearest(word string, candidates []string) string {
	const longest = 64 // bytes; the distance takes quadratic time
	if len(word) > longest {
		return ""
	}
	lower, letters := strings.ToLower(word), utf8.RuneCountInString(word)
	far := max(2, len(word)/3) // two: two swapped letters
	if len(word) < 3 {
		far = 1
	}
	best, bestDistance := "", far+1
	for _, c := range candidates {
		if len(c) > longest || c == word {
			continue
		}
		if diff := utf8.RuneCountInString(c) - letters; diff >= bestDistance || -diff >= bestDistance {
			continue // too long or too short to be nearer
		}
		d := levenshtein.ComputeDistance(lower, strings.ToLower(c))
		if d < bestDistance && d < len(c) {
			best, bestDistance = c, d
		}
	}
	return best
}
