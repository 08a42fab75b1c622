package syntax

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Problem is an error in a text. Line and Col are 1-based; Col counts characters.
type Problem struct {
	Line, Col int
	Msg       string
}

// lineEnds replaces the line ends of yaml.v3 by "\n": those of YAML 1.1, of which YAML 1.2
// kept the first two. "\r\n" is one line end.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// Lines returns a text's lines without their ends, numbered as yaml.v3 does.
func Lines(text string) []string { return strings.Split(lineEnds.Replace(text), "\n") }

// at returns a problem at byte i of a text.
func at(text []byte, i int, format string, args ...any) Problem {
	before := lineEnds.Replace(string(text[:i]))
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return Problem{strings.Count(before, "\n") + 1, utf8.RuneCountInString(line) + 1, fmt.Sprintf(format, args...)}
}

// Junk finds bytes that a description cannot have: bytes that are not UTF-8, and control
// characters. ok reports that there are none.
func Junk(text []byte) (p Problem, ok bool) {
	if name := otherEncoding(text); name != "" {
		return at(text, 0, "the text is %s; save it as UTF-8", name), false
	}
	for i := 0; i < len(text); {
		if c := text[i]; c >= ' ' && c < 0x7f { // most bytes
			i++
			continue
		}
		c, size := utf8.DecodeRune(text[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			return at(text, i, "byte 0x%02x is not UTF-8; write the value as !!binary in base64", text[i]), false
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c >= 0x7f && c < 0xa0 && c != 0x85, c == 0xfffe, c == 0xffff:
			return at(text, i, "control character U+%04X; write it as an escape in double quotes", c), false
		}
		i += size
	}
	return Problem{}, true
}

// otherEncoding names the encoding of a text that begins with a byte order mark, or with
// a character that contains zero bytes, which UTF-8 does not have. "" means that the text
// may be UTF-8.
func otherEncoding(text []byte) string {
	for _, mark := range []struct{ bytes, name string }{
		{"\xff\xfe\x00\x00", "UTF-32"}, {"\x00\x00\xfe\xff", "UTF-32"}, // before UTF-16, whose mark is a prefix of the first
		{"\xff\xfe", "UTF-16"}, {"\xfe\xff", "UTF-16"},
	} {
		if bytes.HasPrefix(text, []byte(mark.bytes)) {
			return mark.name
		}
	}
	zeros := bytes.Map(func(c rune) rune {
		if c == 0 {
			return '0'
		}
		return 'x'
	}, text[:min(4, len(text))])
	return map[string]string{"x000": "probably UTF-32", "000x": "probably UTF-32", "x0x0": "probably UTF-16", "0x0x": "probably UTF-16"}[string(zeros)]
}
