package images

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"regrow/tasktree"
)

// Error contains the problems of a description, and its lines. It wraps a
// [*tasktree.InvalidError], which has the problems as data.
type Error struct {
	Invalid *tasktree.InvalidError
	lines   []string // of the source, without line ends
}

// Unwrap returns the [*tasktree.InvalidError].
func (e *Error) Unwrap() error { return e.Invalid }

// Error returns "SOURCE:LINE:COL: PATH: MESSAGE" for each problem, and below it, indented,
// the source line with a caret under the position.
func (e *Error) Error() string {
	var b strings.Builder
	at := &cursor{lines: e.lines}
	for i, p := range e.Invalid.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(tasktree.At(e.Invalid.Source, p.Pos) + ": ")
		b.WriteString(tasktree.Problem{Path: p.Path, Msg: p.Msg}.String())
		if p.Pos.Line >= 1 && p.Pos.Line <= len(e.lines) {
			b.WriteString(at.caret(p.Pos))
		}
	}
	return b.String()
}

// cursor finds positions in ascending order, so that many problems in one long line take
// linear time.
type cursor struct {
	lines []string
	pos   tasktree.Pos // 1-based
	byte  int          // the same position as an offset in the line
}

// window returns the line from at most before characters before pos on, and the number of
// characters that were left out. A position may come before an earlier one, but not by
// more than before.
func (c *cursor) window(pos tasktree.Pos, before int) (line string, left int) {
	if start := max(1, pos.Col-before); c.pos.Line != pos.Line || c.pos.Col > start {
		c.pos, c.byte = tasktree.Pos{Line: pos.Line, Col: 1}, 0
	}
	line = c.lines[pos.Line-1]
	for c.pos.Col < pos.Col-before && c.byte < len(line) {
		_, n := utf8.DecodeRuneInString(line[c.byte:])
		c.byte += n
		c.pos.Col++
	}
	return line[c.byte:], c.pos.Col - 1
}

// caret shows a line, or the part of it around the column (1-based, in characters; 0 if not
// known), with a caret below. Tabs become one space, so that the caret has the right
// position on any terminal.
func (c *cursor) caret(pos tasktree.Pos) string {
	const before, width, indent = 50, 76, "    "
	var shown strings.Builder
	line, start := c.window(pos, before)
	at, n := -1, 0
	lead := ""
	if start > 0 {
		lead = "..."
	}
	i := start
	for _, r := range line {
		if i == pos.Col-1 {
			at = n
		}
		i++
		s := printable(r)
		if n+len(s) > width {
			shown.WriteString("...")
			break
		}
		shown.WriteString(s)
		n += cells(s)
	}
	if at < 0 {
		at = n
	}
	text := "\n" + indent + lead + shown.String()
	if pos.Col > 0 {
		text += "\n" + indent + strings.Repeat(" ", len(lead)+at) + "^"
	}
	return text
}

// printable returns the text for a character on a terminal.
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

// cells returns the width of a text on a terminal: wide characters take two cells.
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
