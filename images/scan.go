package images

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// state is what a character comes behind.
type state int

const (
	fresh  state = iota // the begin, or an indicator: a value may begin
	marked              // an anchor or a tag: a value may begin, or be left out
	inText              // a part of an unquoted text
	ended               // the end of a value that cannot go on
)

// bracket is a bracket that is open.
type bracket struct {
	place
	bracket byte
	colons  int  // ": " in the entry
	some    bool // the entry has something
}

var closes = map[byte]byte{']': '[', '}': '{'}

// scan goes through the characters of a line from an offset on. It reports false
// once it has found something, or knows no further.
func (s *structure) scan(line string, from int) bool {
	for i := from; i < len(line); i++ {
		c := line[i]
		switch {
		case s.quote != 0:
			if s.quoted(line, &i) {
				s.state, s.behindQuote = ended, true
			}
			if s.msg != "" {
				return false
			}
		case c == ' ' || c == '\t':
		case c == '#' && (s.state != inText || blankAt(line, i-1)):
			s.comment()
			return true
		default:
			if !s.step(line, &i) {
				return false
			}
			if s.literal != notInLiteral {
				return true
			}
		}
	}
	return true
}

// comment ends an unquoted text.
func (s *structure) comment() {
	if s.state == inText {
		s.state, s.behindQuote = ended, false
	}
}

// step takes one character, or all of an anchor, a tag or an alias.
func (s *structure) step(line string, i *int) bool {
	c, flow := line[*i], len(s.open) > 0
	switch {
	case c == ',' && flow:
		return s.comma(*i)
	case closes[c] != 0 && (flow || s.state != inText):
		return s.close(*i, c)
	case c == ':' && s.isColon(line, *i):
		return s.colon(line, *i)
	case s.state == ended:
		return s.behind(line, *i)
	case s.state == inText:
		if flow && strings.IndexByte("[{?", c) >= 0 {
			return s.found(*i, "found %q in text inside brackets; put quotes around the text%s", string(c), orComma(line, *i))
		}
		return true
	}
	return s.begin(line, i)
}

// isColon reports whether a colon ends a key.
func (s *structure) isColon(line string, i int) bool {
	return blankAt(line, i+1) || len(s.open) > 0 && s.state != inText
}

func orComma(line string, i int) string {
	if blankAt(line, i-1) && line[i] != '?' {
		return ", or a comma before this"
	}
	return ""
}

// comma ends an entry of the innermost bracket.
func (s *structure) comma(i int) bool {
	top := &s.open[len(s.open)-1]
	if !top.some {
		if top.bracket == '{' {
			return s.found(i, "nothing comes before this comma; write KEY: VALUE there, or drop the comma")
		}
		return s.found(i, "nothing comes before this comma; write a value there (\"\" for an empty one), or drop the comma")
	}
	top.colons, top.some = 0, false
	s.state = fresh
	return true
}

func (s *structure) close(i int, c byte) bool {
	if len(s.open) == 0 {
		return s.found(i, "%q closes nothing", string(c))
	}
	if top := s.open[len(s.open)-1]; top.bracket != closes[c] {
		return s.found(i, "found %q while the %q at %s is open", string(c), string(top.bracket), s.at(top.place))
	}
	s.open = s.open[:len(s.open)-1]
	s.state, s.behindQuote = ended, false
	return true
}

// colon ends a key.
func (s *structure) colon(line string, i int) bool {
	if n := len(s.open); n > 0 {
		top := &s.open[n-1]
		if top.colons++; top.colons > 1 {
			key := strings.LastIndexAny(strings.TrimRight(line[:i], " "), " ,{[") + 1
			return s.found(key, "a second key in one entry; put a comma before it%s", s.orEnd())
		}
		top.some = true
		s.state = fresh
		return true
	}
	if s.key == "" { // of a key that is no plain name
		s.lost = true
		return false
	}
	if bracket := strings.IndexAny(s.key, "{["); bracket > 0 && strings.IndexByte(" \t", s.key[bracket-1]) >= 0 && s.key[0] != '"' && s.key[0] != '\'' {
		return s.found(strings.Index(line, s.key)+bracket, "found %q in a key; put a colon before it", string(s.key[bracket]))
	}
	return s.found(i, "a second \": \" in one line; put quotes around the value, or start a new line")
}

// behind is a character that goes on where a value has ended.
func (s *structure) behind(line string, i int) bool {
	c, _ := utf8.DecodeRuneInString(line[i:])
	found, quoted := string(c), ""
	if s.behindQuote {
		quoted = " after the closing quote"
	}
	switch {
	case s.behindQuote && s.quoteAt.line != s.line:
		return s.found(i, "found %q after the quote that opens at %s and closes here; close it where its text ends", found, s.at(s.quoteAt))
	case len(s.open) > 0:
		end := cmp.Or(s.orEnd(), " or close the bracket")
		return s.found(i, "found %q%s; put a comma before it%s%s", found, quoted, end, quoteHint(line, i))
	case c == ',':
		return s.found(i, "a comma after a value that is not in brackets; drop it")
	case c == ':':
		return s.found(i, "a space is missing after the colon")
	case s.behindQuote:
		return s.found(i, "found %q%s; put quotes around the whole value%s", found, quoted, quoteHint(line, i))
	}
	return s.found(i, "found %q after the end of the value; start a new entry on its own line, or put quotes around the whole text", abbreviate(line[i:]))
}

// orEnd names the innermost bracket if it was opened in another line, since it may
// be the mistake that it is still open.
func (s *structure) orEnd() string {
	top := s.open[len(s.open)-1]
	if top.line == s.line {
		return ""
	}
	return fmt.Sprintf(" or close the %q at %s", string(top.bracket), s.at(top.place))
}

func quoteHint(line string, i int) string {
	if i > 0 && line[i-1] == '\'' {
		return " (write '' for a quote inside quotes)"
	}
	return ""
}

// begin is the first character of a value.
func (s *structure) begin(line string, i *int) bool {
	c, flow := line[*i], len(s.open) > 0
	switch {
	case c == '?' && flow && s.open[len(s.open)-1].bracket == '[' && endsEntry.MatchString(line[*i+1:]):
		return s.found(*i, "? without quotes begins a key; put quotes around text")
	case (c == '?' || c == ':') && (flow || blankAt(line, *i+1)):
		s.lost = true
		return false
	case c == '-' && blankAt(line, *i+1) && flow:
		return s.found(*i, "a \"- \" inside brackets; put quotes around text, and only commas between entries%s", s.orEnd())
	case c == '-' && blankAt(line, *i+1):
		return s.found(*i, "a list begins on the line of its key; put its \"- \" on a new line")
	case c == ',':
		return s.found(*i, "a value cannot begin with a comma; put quotes around it")
	case (c == '|' || c == '>') && flow:
		return s.found(*i, "block text is not possible inside brackets; use quotes")
	case c == '|' || c == '>':
		return s.blockScalar(line, *i)
	case strings.IndexByte("@`%", c) >= 0:
		return s.found(*i, "a value without quotes cannot begin with %q; put quotes around it", c)
	}
	if flow {
		s.open[len(s.open)-1].some = true
	}
	switch c {
	case '&', '*':
		return s.anchor(line, i)
	case '!':
		s.state = marked
		for *i+1 < len(line) && !blankAt(line, *i+1) && line[*i+1] != '{' && line[*i+1] != '}' {
			*i++
		}
	case '"', '\'':
		s.quote, s.quoteAt = c, place{s.line, *i}
	case '[', '{':
		s.open = append(s.open, bracket{place: place{s.line, *i}, bracket: c})
		s.state = fresh
	default:
		s.state = inText
	}
	return true
}

// endsEntry matches what an entry in brackets ends with.
var endsEntry = regexp.MustCompile(`^[ \t]*[,\]}]`)

// anchor takes an anchor or an alias.
func (s *structure) anchor(line string, i *int) bool {
	end := *i + 1
	for end < len(line) && isWord(line[end]) {
		end++
	}
	name := line[*i+1 : end]
	if name == "" || !blankAt(line, end) && strings.IndexByte("?:,]}%@`", line[end]) < 0 {
		what := map[byte]string{'*': "an alias", '&': "an anchor"}[line[*i]]
		return s.found(*i, "%c without quotes begins %s; put quotes around text", line[*i], what)
	}
	if !blankAt(line, end) && strings.IndexByte("?:%@`", line[end]) >= 0 {
		s.lost = true // the parser takes that, whatever it means
		return false
	}
	if line[*i] == '&' {
		s.state = marked
	} else if s.state, s.behindQuote = ended, false; name == s.alias {
		return s.found(*i, "%s", noAnchor(name))
	}
	*i = end - 1
	return true
}

// isWord reports a character that names of anchors have.
func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// blockHead matches the line of a block scalar from its first character on.
var blockHead = regexp.MustCompile(`^[|>][-+0-9]*[ \t]*(?:#.*)?$`)

// blockScalar takes the head of a block scalar. The text is on the lines below.
func (s *structure) blockScalar(line string, i int) bool {
	if !blockHead.MatchString(line[i:]) {
		return s.found(i, "%c without quotes begins block text on the lines below; put quotes around text", line[i])
	}
	s.state, s.behindQuote, s.literal = ended, false, -1
	if n := len(s.levels); n > 0 {
		s.literal = s.levels[n-1].indent
	}
	return true
}

// quoted takes one step inside a quoted scalar and reports its end.
func (s *structure) quoted(line string, i *int) bool {
	c := line[*i]
	switch {
	case c == '\\' && s.quote == '"':
		s.escape(line, i)
	case c == s.quote && s.quote == '\'' && *i+1 < len(line) && line[*i+1] == '\'':
		*i++
	case c == s.quote:
		s.quote = 0
		return true
	}
	return false
}

// escapeDigits has the escapes that take hexadecimal digits.
var escapeDigits = map[byte]int{'x': 2, 'u': 4, 'U': 8}

// escape takes an escape in double quotes up to its letter.
func (s *structure) escape(line string, i *int) {
	start := *i
	if *i++; *i >= len(line) {
		return // of the end of the line
	}
	digits, hex := escapeDigits[line[*i]]
	if !hex {
		if strings.IndexByte("0abt\tnvfre \"'\\N_LP", line[*i]) < 0 {
			c, _ := utf8.DecodeRuneInString(line[*i:])
			s.found(start, "unknown escape \\%c (write \\\\ for a backslash, or use single quotes)", c)
		}
		return
	}
	c, ok := hexAt(line, *i+1, digits)
	switch {
	case !ok:
		s.found(start, "\\%c needs %d hexadecimal digits after it", line[*i], digits)
	case utf16.IsSurrogate(c):
		hint := ""
		if low, ok := hexAt(line, start+8, 4); ok && strings.HasPrefix(line[start+6:], `\u`) {
			if c := utf16.DecodeRune(c, low); c != utf8.RuneError {
				hint = fmt.Sprintf(" or \\U%08X", c)
			}
		}
		s.found(start, "surrogate escapes are JSON, not YAML; write the character itself%s", hint)
	case !utf8.ValidRune(c):
		s.found(start, "there is no character U+%X", c)
	}
}

// hexAt reads n hexadecimal digits.
func hexAt(line string, at, n int) (rune, bool) {
	if at+n > len(line) {
		return 0, false
	}
	v, err := strconv.ParseUint(line[at:at+n], 16, 32)
	return rune(v), err == nil && v <= 1<<31-1
}
