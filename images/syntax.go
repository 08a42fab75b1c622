package images

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"regrow/tasktree"
)

// junk finds bytes that no description has: not UTF-8, or control characters.
func junk(text []byte) (tasktree.Pos, string) {
	if what := otherEncoding(text); what != "" {
		return tasktree.Pos{Line: 1, Col: 1}, what
	}
	pos := tasktree.Pos{Line: 1, Col: 1}
	for i := 0; i < len(text); {
		if c := text[i]; c >= ' ' && c < 0x7f { // nearly all
			pos.Col++
			i++
			continue
		}
		c, size := utf8.DecodeRune(text[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			return pos, fmt.Sprintf("byte 0x%02x is not UTF-8; other bytes go into a value with !!binary and base64", text[i])
		case c == '\r' && bytes.HasPrefix(text[i+1:], []byte("\n")):
			// The line ends with the next character.
		case strings.ContainsRune(lineBreaks, c):
			pos = tasktree.Pos{Line: pos.Line + 1}
		case c < ' ' && c != '\t', c == 0x7f, c >= 0x80 && c < 0xa0, c == 0xfffe, c == 0xffff:
			return pos, fmt.Sprintf("control character U+%04X; write it with an escape in double quotes", c)
		}
		pos.Col++
		i += size
	}
	return tasktree.Pos{}, ""
}

// otherEncoding says that a text has a mark at its begin, or bytes of zero in the
// first character, as no UTF-8 has. "" means that it may be UTF-8.
func otherEncoding(text []byte) string {
	begins := func(s string) bool { return bytes.HasPrefix(text, []byte(s)) }
	switch {
	case begins("\xff\xfe\x00\x00"), begins("\x00\x00\xfe\xff"): // the first begins as UTF-16 does
		return "the text is UTF-32, want UTF-8"
	case begins("\xff\xfe"), begins("\xfe\xff"):
		return "the text is UTF-16, want UTF-8"
	case len(text) < 4:
		return ""
	}
	var zero [4]bool
	for i := range zero {
		zero[i] = text[i] == 0
	}
	switch zero {
	case [4]bool{false, true, true, true}, [4]bool{true, true, true, false}:
		return "the text is probably UTF-32, save it as UTF-8"
	case [4]bool{false, true, false, true}, [4]bool{true, false, true, false}:
		return "the text is probably UTF-16, save it as UTF-8"
	}
	return ""
}

var (
	yamlLine      = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxError turns what yaml.v3 says of a syntax error into a position and a
// message. It gives a line at most, often the one where a construct began or
// the one after, so the place is looked for; where it is not found for certain
// the message says "near".
func syntaxError(text []byte, err error) (tasktree.Pos, string) {
	m := yamlLine.FindStringSubmatch(strings.TrimSpace(err.Error()))
	line, _ := strconv.Atoi(m[1])
	msg := m[2]
	lines := splitLines(string(text))
	if a := unknownAnchor.FindStringSubmatch(msg); a != nil {
		if pos, ok := find(lines, regexp.MustCompile(`\*`+regexp.QuoteMeta(a[1])+`($|[\s,\]}])`)); ok {
			return pos, fmt.Sprintf("alias *%s has no anchor &%s before it", a[1], a[1])
		}
	}
	if strings.Contains(msg, "cannot start any token") || strings.Contains(msg, "tab character") {
		if pos, ok := find(lines, regexp.MustCompile(`^[ -]*\t`)); ok {
			pos.Col += strings.IndexByte(lines[pos.Line-1], '\t')
			return pos, "a tab in the indentation, want spaces"
		}
		if pos, ok := find(lines, regexp.MustCompile("(?:^|[:,\\[{-] *)[@`%]")); ok {
			end := strings.IndexAny(lines[pos.Line-1][pos.Col-1:], "@`%")
			pos.Col += end
			return pos, fmt.Sprintf("a plain value cannot begin with %q, want quotes", lines[pos.Line-1][pos.Col-1])
		}
	}
	if strings.Contains(msg, "mapping values are not allowed") {
		if pos, ok := find(lines, regexp.MustCompile(`^[^#"']*?: [^"'{\[#]*: `)); ok {
			first := strings.Index(lines[pos.Line-1], ": ")
			second := strings.Index(lines[pos.Line-1][first+2:], ": ")
			pos.Col = utf8.RuneCountInString(lines[pos.Line-1][:first+2+second]) + 1
			return pos, "a second \": \" in one line, want quotes around the value or a line of its own"
		}
	}
	if pos, what := locate(lines); what != "" {
		return pos, what
	}
	if line == 0 {
		return tasktree.Pos{Line: 1, Col: 1}, "no valid YAML (the parser gives no place): " + msg
	}
	if line > len(lines) || strings.TrimSpace(strings.Join(lines[line-1:], "")) == "" {
		line = max(1, len(splitLines(strings.TrimRight(string(text), lineBreaks+" \t"))))
	}
	source := lines[line-1]
	col := utf8.RuneCountInString(source) - utf8.RuneCountInString(strings.TrimLeft(source, " \t-")) + 1
	return tasktree.Pos{Line: line, Col: col}, fmt.Sprintf("no valid YAML near line %d: %s", line, msg)
}

// lineBreaks are the characters that end a line for yaml.v3: those of YAML 1.1,
// which 1.2 cut down to the first two. "\r\n" is one end.
const lineBreaks = "\n\r\u0085\u2028\u2029"

// splitLines gives a text's lines without their ends, numbered as yaml.v3 does.
func splitLines(text string) []string {
	lines := make([]string, 0, strings.Count(text, "\n")+1)
	from := 0
	for at := 0; at < len(text); {
		n := lineBreak(text[at:])
		if n == 0 {
			at++
			continue
		}
		lines = append(lines, text[from:at])
		at += n
		from = at
	}
	return append(lines, text[from:])
}

// lineBreak gives the length of the end of a line that a text begins with, 0 if
// it begins with none.
func lineBreak(text string) int {
	switch text[0] {
	case '\n':
		return 1
	case '\r':
		if strings.HasPrefix(text, "\r\n") {
			return 2
		}
		return 1
	case "\u0085"[0]:
		if strings.HasPrefix(text, "\u0085") {
			return len("\u0085")
		}
	case "\u2028"[0]:
		if strings.HasPrefix(text, "\u2028") || strings.HasPrefix(text, "\u2029") {
			return len("\u2028")
		}
	}
	return 0
}

// find gives the first place that matches.
func find(lines []string, re *regexp.Regexp) (tasktree.Pos, bool) {
	for i, l := range lines {
		if at := re.FindStringIndex(l); at != nil {
			return tasktree.Pos{Line: i + 1, Col: utf8.RuneCountInString(l[:at[0]]) + 1}, true
		}
	}
	return tasktree.Pos{}, false
}
