package images

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"regrow/tasktree"
)

// Error says what is wrong with a description, with the lines that it is about.
// It wraps a [*tasktree.InvalidError], which has the problems as data.
type Error struct {
	Invalid *tasktree.InvalidError
	lines   []string // of the source, without line ends
}

// Unwrap gives the [*tasktree.InvalidError].
func (e *Error) Unwrap() error { return e.Invalid }

// Error gives, for each problem, "SOURCE:LINE:COL: PATH: MESSAGE", and below it,
// indented, the source line with a caret under the place.
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Invalid.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(tasktree.At(e.Invalid.Source, p.Pos) + ": ")
		b.WriteString(tasktree.Problem{Path: p.Path, Msg: p.Msg}.String())
		if p.Pos.Line >= 1 && p.Pos.Line <= len(e.lines) {
			b.WriteString(caret(e.lines[p.Pos.Line-1], p.Pos.Col))
		}
	}
	return b.String()
}

// caret shows a line, or the part of it around the column (1-based, in
// characters; 0: none is known), with a caret below. Tabs become one space, so
// that the caret stands where it should on any terminal.
func caret(line string, col int) string {
	const before, width, indent = 50, 76, "    "
	var shown strings.Builder
	at := 0
	start := max(0, col-1-before)
	lead := ""
	if start > 0 {
		lead = "..."
	}
	n := 0
	for i, c := range []rune(line) {
		if i < start {
			continue
		}
		if i == col-1 {
			at = n
		}
		s := printable(c)
		if n+len(s) > width {
			shown.WriteString("...")
			break
		}
		shown.WriteString(s)
		n += cells(s)
	}
	if col-1 >= utf8.RuneCountInString(line) {
		at = n
	}
	text := "\n" + indent + lead + shown.String()
	if col > 0 {
		text += "\n" + indent + strings.Repeat(" ", len(lead)+at) + "^"
	}
	return text
}

// printable gives what stands for a character on a terminal.
func printable(c rune) string {
	switch {
	case c == '\t':
		return " "
	case c == utf8.RuneError:
		return `\x??`
	case !unicode.IsPrint(c):
		return fmt.Sprintf(`\x%02x`, c)
	}
	return string(c)
}

// cells gives the width of a text in a terminal: wide characters take two.
func cells(s string) int {
	n := 0
	for _, c := range s {
		n++
		if unicode.In(c, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) || c >= 0x1f300 && c < 0x1fb00 {
			n++
		}
	}
	return n
}
