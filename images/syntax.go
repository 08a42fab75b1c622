package images

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

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
			return pos, fmt.Sprintf("byte 0x%02x is not UTF-8; write such a value as !!binary with base64", text[i])
		case c == '\r' && bytes.HasPrefix(text[i+1:], []byte("\n")):
			// The line ends with the next character.
		case strings.ContainsRune(lineBreaks, c):
			pos = tasktree.Pos{Line: pos.Line + 1}
		case c < ' ' && c != '\t', c == 0x7f, c >= 0x80 && c < 0xa0, c == 0xfffe, c == 0xffff:
			return pos, fmt.Sprintf("control character U+%04X; write it as an escape in double quotes", c)
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
		return "the text is UTF-32; save it as UTF-8"
	case begins("\xff\xfe"), begins("\xfe\xff"):
		return "the text is UTF-16; save it as UTF-8"
	case len(text) < 4:
		return ""
	}
	var zero [4]bool
	for i := range zero {
		zero[i] = text[i] == 0
	}
	switch zero {
	case [4]bool{false, true, true, true}, [4]bool{true, true, true, false}:
		return "the text is probably UTF-32; save it as UTF-8"
	case [4]bool{false, true, false, true}, [4]bool{true, false, true, false}:
		return "the text is probably UTF-16; save it as UTF-8"
	}
	return ""
}

var (
	yamlLine      = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// lineReader gives a text line by line, or byte by byte, so that it tells how far
// the parser has come.
type lineReader struct {
	text  []byte
	at    int
	bytes bool
}

// Read implements [io.Reader].
func (r *lineReader) Read(p []byte) (int, error) {
	if r.at == len(r.text) {
		return 0, io.EOF
	}
	rest := r.text[r.at:min(len(r.text), r.at+len(p))]
	if n := bytes.IndexByte(rest, '\n'); n >= 0 {
		rest = rest[:n+1]
	}
	if r.bytes {
		rest = rest[:min(len(rest), 1)]
	}
	r.at += copy(p, rest)
	return len(rest), nil
}

// syntaxError turns what yaml.v3 says of a syntax error, when it had read so much
// of the text, into a position and a message. It gives a line at most, often the
// one where a construct began or the one after, so the place is looked for; where
// it is not found for certain the message says "near".
func syntaxError(text []byte, read int, err error) (tasktree.Pos, string) {
	m := yamlLine.FindStringSubmatch(strings.TrimSpace(err.Error()))
	line, _ := strconv.Atoi(m[1])
	msg := m[2]
	lines := splitLines(string(text[:read]))
	alias := ""
	if a := unknownAnchor.FindStringSubmatch(msg); a != nil {
		alias = a[1]
	}
	if strings.Contains(msg, "cannot start any token") || strings.Contains(msg, "tab character") {
		from := min(max(line, 1), len(lines)) - 1
		if pos, ok := find(lines[from:], regexp.MustCompile(`^[ -]*\t`)); ok {
			pos.Line += from
			pos.Col += strings.IndexByte(lines[pos.Line-1], '\t')
			return pos, "a tab in the indentation; use spaces"
		}
	}
	if pos, what := locate(lines, read == len(text), alias); what != "" {
		return pos, what
	}
	if pos, ok := find(lines, regexp.MustCompile(`\*`+regexp.QuoteMeta(alias)+`($|[\s,\]}])`)); ok && alias != "" {
		return pos, noAnchor(alias)
	}
	if strings.Contains(msg, "exceeded max depth") {
		msg = fmt.Sprintf("nested too deeply: at most %d levels", maxDepth)
	}
	line = nearLine(text, read, line, msg)
	source := splitLines(string(text))[line-1]
	col := utf8.RuneCountInString(source) - utf8.RuneCountInString(strings.TrimLeft(source, " \t-")) + 1
	return tasktree.Pos{Line: line, Col: col}, fmt.Sprintf("invalid YAML near line %d: %s", line, msg)
}

func noAnchor(alias string) string {
	name := abbreviate(alias)
	return fmt.Sprintf("alias *%s has no anchor &%s before it (put quotes around it if it is text)", name, name)
}

// ofParser matches messages with the line where something larger began.
var ofParser = regexp.MustCompile(`^did not find expected (?:key|'-' indicator|',' or|node content|<)|^unknown anchor`)

// nearLine gives the line of what the parser did not take. It gives one that is
// not empty, if there is any.
func nearLine(text []byte, read, line int, msg string) int {
	if line == 0 && !ofParser.MatchString(msg) {
		line = 1 // which the scanner does not say
	}
	if ofParser.MatchString(msg) {
		const short = 64 << 10 // enough for people, and what reading it twice costs
		if len(text) <= short {
			again := &lineReader{text: text, bytes: true}
			dec := yaml.NewDecoder(again)
			for err := error(nil); err == nil; {
				err = dec.Decode(new(yaml.Node))
			}
			read = again.at
		}
		line = len(splitLines(string(text[:read])))
	}
	last := len(splitLines(strings.TrimRight(string(text[:read]), lineBreaks+" \t")))
	return max(1, min(line, last))
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
