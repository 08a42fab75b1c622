package images

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"regrow/tasktree"
)

// locate looks for what breaks the structure of a text that yaml.v3 has
// refused: quotes and brackets that do not close, commas and colons that are
// missing or too many, texts that want quotes, lines whose indentation fits
// nothing, and the alias of that name if it is not "". It knows less of YAML than
// a parser and is asked only for a place that the parser does not tell. It looks
// only at lines that the parser has read; whole says that these are all. Keys
// that are no plain names end the search. It costs no more than reading the text.
func locate(lines []string, whole bool, alias string) (tasktree.Pos, string) {
	s := &structure{lines: lines, literal: notInLiteral, alias: alias}
	for i, line := range lines {
		s.line = i
		if s.skips(line) {
			continue
		}
		from := 0
		if len(s.open) == 0 && s.quote == 0 {
			if from = s.block(line); from < 0 {
				break
			}
		}
		if !s.scan(line, from) {
			break
		}
	}
	switch {
	case s.msg != "" || s.lost || !whole:
	case s.quote != 0:
		s.pos, s.msg = s.at(s.quoteAt), fmt.Sprintf("the quote %c is never closed", s.quote)
	case len(s.open) > 0:
		last := s.open[len(s.open)-1]
		s.pos, s.msg = s.at(last.place), fmt.Sprintf("%q is never closed", string(last.bracket))
	}
	return s.pos, s.msg
}

// structure is what is open at a place of the text.
type structure struct {
	lines       []string
	line        int // index
	state       state
	behindQuote bool // where the state is ended
	open        []bracket
	quote       byte // inside a quoted scalar, 0: not
	quoteAt     place
	levels      []level // of indentation, outside of brackets
	wants       bool    // the last line ended with a key or a dash alone
	key         string  // of this line, "" if it has none
	literal     int     // indentation of what a block scalar belongs to
	loose       place   // of a text that is a whole value, which may be a key without a colon
	isLoose     bool
	alias       string // that has no anchor

	pos  tasktree.Pos
	msg  string
	lost bool // something stands here that is not known
}

const notInLiteral = -2 // -1 is the top of a document

// place is a byte of the text, line and byte from 0.
type place struct{ line, byte int }

// level is a column where a mapping or a list has its entries.
type level struct {
	indent int
	list   bool
}

// at gives the position of a place. It counts characters, so it is for what will
// be read.
func (s *structure) at(p place) tasktree.Pos {
	return tasktree.Pos{Line: p.line + 1, Col: utf8.RuneCountInString(s.lines[p.line][:p.byte]) + 1}
}

// found notes a problem in this line, and is false.
func (s *structure) found(i int, format string, args ...any) bool {
	s.pos = s.at(place{s.line, i})
	s.msg = fmt.Sprintf(format, args...)
	return false
}

// skips reports a line that has no structure: empty, or part of a block scalar.
func (s *structure) skips(line string) bool {
	text := strings.TrimLeft(line, " ")
	if s.quote != 0 {
		return false
	}
	if strings.Trim(text, "\t") == "" {
		return true
	}
	if s.literal != notInLiteral {
		if len(line)-len(text) > s.literal && !isMarker(line) {
			return true
		}
		s.literal = notInLiteral
	}
	if text[0] == '#' {
		s.comment()
		return true
	}
	return false
}

// isMarker reports whether a line is between documents.
func isMarker(line string) bool {
	return (strings.HasPrefix(line, "---") || strings.HasPrefix(line, "...")) && blankAt(line, 3)
}

// blankAt reports whether a blank stands at a place, or nothing of the line.
func blankAt(line string, i int) bool {
	return i < 0 || i >= len(line) || line[i] == ' ' || line[i] == '\t'
}

var (
	// A list, a mapping or an alias as a key.
	otherKey = regexp.MustCompile(`^(?:\[.*\]\s*|\{.*\}\s*|\*\S+\s+):(?:\s|$)`)
	// A line that is likely meant as KEY: VALUE.
	noColon    = regexp.MustCompile(`^([A-Za-z_]\w*)(?:[ \t=]+([^:#=]*))?$`)
	tightColon = regexp.MustCompile(`^[A-Za-z_]\w*:[^\s:/]`)
)

// block looks at the indentation of a line outside of brackets. It gives the
// offset of the value in it, or less than 0 if it does not fit or is not known.
func (s *structure) block(line string) int {
	s.key = ""
	if isMarker(line) || line[0] == '%' && !s.goesOn(0) {
		s.levels, s.wants, s.isLoose, s.state = nil, false, false, fresh
		if rest := strings.TrimLeft(line[min(3, len(line)):], " \t"); line[0] == '-' && rest != "" && rest[0] != '#' {
			s.lost = true // a document that begins in the line of its marker
			return -1
		}
		return len(line)
	}
	text := strings.TrimLeft(line, " ")
	indent := len(line) - len(text)
	if s.goesOn(indent) && (text[0] == '-' || text[0] == '?') {
		return s.plain(text, indent)
	}
	for text[0] == '-' && blankAt(text, 1) {
		if !s.enter(indent, true) {
			return -1
		}
		rest := strings.TrimLeft(text[1:], " ")
		s.wants, s.state = true, fresh
		if rest == "" || rest[0] == '#' {
			return len(line)
		}
		indent += len(text) - len(rest)
		text = rest
	}
	if (text[0] == '?' || text[0] == ':') && blankAt(text, 1) {
		s.lost = true
		return -1
	}
	before := properties(text)
	key := blockKey(text[before:])
	switch {
	case key == "" && strings.IndexByte("[{*", text[0]) >= 0 && otherKey.MatchString(text):
		s.lost = true
		return -1
	case key == "":
		return s.plain(text, indent)
	}
	if !s.enter(indent, false) {
		return -1
	}
	s.key, s.state = key, fresh
	if key[0] == '"' && !s.escapes(line, indent+before) {
		return -1
	}
	value := indent + before + len(key)
	s.wants = opensBelow(line[value:])
	return value
}

// properties gives the length of the anchors and tags that a text begins with, and
// of the blanks behind them.
func properties(text string) int {
	i := 0
	for i < len(text) && (text[i] == '&' || text[i] == '!') {
		for i < len(text) && !blankAt(text, i) {
			i++
		}
		for i < len(text) && blankAt(text, i) {
			i++
		}
	}
	return i
}

// opensBelow reports whether a text can stand before a value that is on the lines
// below.
func opensBelow(text string) bool {
	rest := text[properties(text):]
	return rest == "" || rest[0] == '#'
}

// blockKey gives the key that a text begins with, up to its colon and the blanks
// behind that, or "".
func blockKey(text string) string {
	end := 0
	if text == "" || strings.IndexByte("[]{},#&*!|>%@`", text[0]) >= 0 {
		return ""
	}
	if text[0] == '"' || text[0] == '\'' {
		end = quotedEnd(text)
		for end++; end < len(text) && blankAt(text, end); {
			end++
		}
		if end >= len(text) || text[end] != ':' || !blankAt(text, end+1) {
			return ""
		}
	}
	for ; end < len(text) && (text[end] != ':' || !blankAt(text, end+1)); end++ {
		if text[end] == '#' && blankAt(text, end-1) {
			return ""
		}
	}
	if end >= len(text) {
		return ""
	}
	for end++; end < len(text) && blankAt(text, end); {
		end++
	}
	return text[:end]
}

// quotedEnd gives the offset of the quote that closes the one a text begins with,
// or of its end.
func quotedEnd(text string) int {
	end := 1
	for ; end < len(text); end++ {
		switch {
		case text[0] == '\'' && strings.HasPrefix(text[end:], "''"), text[0] == '"' && text[end] == '\\':
			end++
		case text[end] == text[0]:
			return end
		}
	}
	return end
}

// escapes looks at the escapes of a quoted key at an offset.
func (s *structure) escapes(line string, at int) bool {
	s.quote = line[at]
	for at++; s.msg == "" && !s.quoted(line, &at); {
		at++
	}
	return s.msg == ""
}

// goesOn reports whether a line with that indentation goes on with the text of
// the line above.
func (s *structure) goesOn(indent int) bool {
	n := len(s.levels)
	return s.state == inText && !s.wants && (n == 0 || indent > s.levels[n-1].indent)
}

// plain is a line, or what follows a dash, without a key.
func (s *structure) plain(text string, indent int) int {
	n := len(s.levels)
	switch {
	case s.wants || n == 0 && !s.isLoose: // the value
		s.state = fresh
		if opensBelow(text) { // an anchor or a tag of it
			s.wants = true
			return indent
		}
		s.loose, s.isLoose = place{s.line, indent}, true
	case n > 0 && indent <= s.levels[n-1].indent:
		s.noKey(place{s.line, indent}, ", or more indentation")
		return -1
	}
	s.wants = false
	return indent
}

// noKey reports a text that stands where an entry of a mapping should.
func (s *structure) noKey(p place, or string) bool {
	text := s.lines[p.line][p.byte:]
	s.line = p.line
	if strings.IndexByte("&!*?", text[0]) >= 0 && strings.Contains(text, ":") { // a key that is no plain name
		s.lost = true
		return false
	}
	if tightColon.MatchString(text) {
		return s.found(p.byte+strings.IndexByte(text, ':'), "a space is missing after the colon")
	}
	hint := ""
	if m := noColon.FindStringSubmatch(strings.TrimRight(text, " \t")); m != nil {
		hint = fmt.Sprintf(" (write %q)", abbreviate(strings.TrimSpace(m[1]+": "+m[2])))
	}
	return s.found(p.byte, "expected KEY: VALUE%[3]s, found %[1]q%[2]s", abbreviate(text), hint, or)
}

// enter goes to the level of an entry.
func (s *structure) enter(indent int, dash bool) bool {
	n, before := len(s.levels), s.levels
	for n > 0 && s.levels[n-1].indent > indent {
		n--
	}
	s.levels = s.levels[:n]
	if n == 0 || s.levels[n-1].indent < indent {
		switch {
		case n < len(before):
			return s.found(indent, "an indentation of %d fits no line above%s", indent, columns(before))
		case s.isLoose && !s.wants && !dash && (n == 0 || s.loose.byte == indent):
			return s.noKey(s.loose, "")
		case n > 0 && !s.wants:
			return s.found(indent, "indented deeper than the line above, which has its value already")
		}
		s.levels = append(s.levels, level{indent, dash})
		s.isLoose = false
		return true
	}
	s.isLoose = false
	top := s.levels[n-1]
	switch {
	case dash && !top.list && s.wants: // a list may stand below its key's own column
		s.levels = append(s.levels, level{indent, true})
	case !dash && top.list && n > 1 && s.levels[n-2].indent == indent: // and ends at the next key
		s.levels = s.levels[:n-1]
	case dash != top.list:
		want := map[bool]string{true: "the next \"- \" of the list", false: "the next KEY: of the mapping"}[top.list]
		return s.found(indent, "at this indentation %s is wanted", want)
	}
	return true
}

// columns says where levels have their entries, each column once, of many the
// deepest.
func columns(levels []level) string {
	const most = 12
	var all []string
	for _, l := range slices.Backward(levels) {
		column := strconv.Itoa(l.indent)
		if n := len(all); n > 0 && all[n-1] == column {
			continue
		}
		if len(all) == most {
			all = append(all, "...")
			break
		}
		all = append(all, column)
	}
	if len(all) == 0 {
		return ""
	}
	slices.Reverse(all)
	return " (they have " + strings.Join(all, ", ") + ")"
}
