package tasktree

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
)

// Problem is one thing that is wrong with a description, or, as a warning, one
// thing that is likely not meant.
type Problem struct {
	Pos  Pos
	Path string // key path: "tasks[0].children[2].fds.7"; "" for the whole document
	Msg  string // what was found, what is wanted, and the cure
}

// String gives "LINE:COL: PATH: MESSAGE", without the parts that are not known.
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

// SortProblems sorts by position, then key path, then message, and drops exact
// repetitions. It works in place and returns the shortened slice.
func SortProblems(ps []Problem) []Problem {
	slices.SortFunc(ps, func(a, b Problem) int {
		return cmp.Or(a.Pos.Compare(b.Pos), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(ps)
}

// InvalidError says that a description breaks the rules. Nothing of it was
// started.
type InvalidError struct {
	Source   string    // name of the description, as messages show it
	Problems []Problem // sorted, at least one
}

// Error gives one line for each problem, "SOURCE:LINE:COL: PATH: MESSAGE".
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = At(e.Source, p.Pos) + ": " + Problem{Path: p.Path, Msg: p.Msg}.String()
	}
	return strings.Join(lines, "\n")
}

// At gives "SOURCE:LINE:COL", as every message starts, without what is not
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

// WithArticle gives "a pipe" for a word, and "an inherit".
func WithArticle(word string) string {
	if word != "" && strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}

// DidYouMean gives ` (did you mean "x"?)` for the candidate nearest to word, or
// "" where none is near enough to be a slip of the keyboard.
func DidYouMean(word string, candidates []string) string {
	if best := Nearest(word, candidates); best != "" {
		return fmt.Sprintf(" (did you mean %q?)", best)
	}
	return ""
}

// Nearest gives the candidate that word was probably meant to be, or "". Of
// equally near ones the first is taken.
func Nearest(word string, candidates []string) string {
	const longest = 64 // the distance is quadratic in length; nobody types more
	if len(word) > longest {
		return ""
	}
	lower, letters := strings.ToLower(word), utf8.RuneCountInString(word)
	far := max(2, len(word)/3) // two: a pair of letters swapped
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
