package images

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"regrow/tasktree"
)

// locate looks for what breaks the structure of a text that yaml.v3 has
// refused: quotes and brackets that do not close, commas that are missing,
// lines whose indentation fits nothing. It knows less of YAML than a parser and
// is asked only when the parser has no good place to give. A long line ends the
// search.
func locate(lines []string) (tasktree.Pos, string) {
	s := &structure{literal: -1}
	const longest = 4096 // of a line that a person wrote; what follows looks at it more than once
	for i, line := range lines {
		s.line = i
		if len(line) > longest {
			return tasktree.Pos{}, ""
		}
		if s.skips(line) {
			continue
		}
		if len(s.open) == 0 && s.quote == 0 && !s.block(line) {
			break
		}
		if !s.scan(line) {
			break
		}
	}
	switch {
	case s.msg != "":
	case s.quote != 0:
		s.pos, s.msg = s.quoteAt, fmt.Sprintf("the quote %c is never closed", s.quote)
	case len(s.open) > 0:
		last := s.open[len(s.open)-1]
		s.pos, s.msg = last.at, fmt.Sprintf("%q is never closed", string(last.bracket))
	}
	return s.pos, s.msg
}

// structure is what is open at a place of the text.
type structure struct {
	line    int // index
	open    []bracket
	quote   byte // inside a quoted scalar, 0: not
	quoteAt tasktree.Pos
	levels  []level // of indentation, outside of brackets
	wants   bool    // the last line ended with a key or a dash alone
	literal int     // indentation of the key of a block scalar, -1: not in one

	pos tasktree.Pos
	msg string
}

type bracket struct {
	bracket byte
	at      tasktree.Pos
	colons  int // ": " in the entry
}

// level is a column where a mapping or a list has its entries.
type level struct {
	indent int
	list   bool
}

func (s *structure) found(line string, i int, format string, args ...any) bool {
	s.pos = tasktree.Pos{Line: s.line + 1, Col: utf8.RuneCountInString(line[:i]) + 1}
	s.msg = fmt.Sprintf(format, args...)
	return false
}

// skips reports a line that has no structure: empty, or part of a block scalar.
func (s *structure) skips(line string) bool {
	text := strings.TrimLeft(line, " ")
	if s.quote != 0 {
		return false
	}
	if text == "" || text[0] == '#' {
		return true
	}
	if s.literal >= 0 {
		if len(line)-len(text) > s.literal {
			return true
		}
		s.literal = -1
	}
	return false
}

var (
	// A key in block style, up to its colon.
	blockKey = regexp.MustCompile(`^(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'\[\]{},#&*!|>%@` + "`" + `](?:[^:#]|:\S|\S#)*?)\s*:(?:\s+|$)`)
	// What may stand before a value that is on the lines below.
	opensBelow  = regexp.MustCompile(`^(?:[&!]\S*\s*)*(?:#.*)?$`)
	blockScalar = regexp.MustCompile(`^(?:[&!]\S*\s+)*[|>][-+0-9]*\s*(?:#.*)?$`)
	tightColon  = regexp.MustCompile(`^[A-Za-z_]\w*:[^\s:/]`)
)

// block looks at the indentation of a line outside of brackets. It reports
// false if it does not fit.
func (s *structure) block(line string) bool {
	text := strings.TrimLeft(line, " ")
	if strings.HasPrefix(line, "---") || strings.HasPrefix(line, "...") || strings.HasPrefix(line, "%") {
		s.levels, s.wants = nil, false
		return true
	}
	indent := len(line) - len(text)
	for {
		dash := strings.HasPrefix(text, "- ") || text == "-"
		key := blockKey.FindString(text)
		if !dash && key == "" {
			return s.plain(line, text, indent)
		}
		if !s.enter(line, indent, dash) {
			return false
		}
		if !dash {
			value := text[len(key):]
			s.wants = opensBelow.MatchString(value)
			if blockScalar.MatchString(value) {
				s.literal = indent
			}
			return true
		}
		rest := strings.TrimLeft(text[1:], " ")
		s.wants = true
		if rest == "" || rest[0] == '#' {
			return true
		}
		indent += len(text) - len(rest)
		text = rest
	}
}

// plain is a line, or what follows a dash, without a key.
func (s *structure) plain(line, text string, indent int) bool {
	if tightColon.MatchString(text) {
		return s.found(line, indent+strings.IndexByte(text, ':'), "a space is missing behind the colon")
	}
	// A value below its key is deeper than the key; a text may go on so.
	if n := len(s.levels); !s.wants && n > 0 && indent <= s.levels[n-1].indent {
		return s.found(line, indent, "found %q, want KEY: VALUE, or more indentation", abbreviate(text))
	}
	s.wants = false
	return true
}

// enter goes to the level of an entry.
func (s *structure) enter(line string, indent int, dash bool) bool {
	columns, popped := s.columns(), false
	for n := len(s.levels); n > 0 && s.levels[n-1].indent > indent; n = len(s.levels) {
		s.levels = s.levels[:n-1]
		popped = true
	}
	n := len(s.levels)
	if n == 0 || s.levels[n-1].indent < indent {
		if popped {
			return s.found(line, indent, "an indentation of %d fits no line above%s", indent, columns)
		}
		if n > 0 && !s.wants {
			return s.found(line, indent, "indented deeper than the line above, which has its value already")
		}
		s.levels = append(s.levels, level{indent, dash})
		return true
	}
	top := s.levels[n-1]
	switch {
	case dash && !top.list && s.wants: // a list may stand below its key's own column
		s.levels = append(s.levels, level{indent, true})
	case !dash && top.list && n > 1 && s.levels[n-2].indent == indent: // and ends at the next key
		s.levels = s.levels[:n-1]
	case dash != top.list:
		want := map[bool]string{true: "the next \"- \" of the list", false: "the next KEY: of the mapping"}[top.list]
		return s.found(line, indent, "at this indentation %s is wanted", want)
	}
	return true
}

func (s *structure) columns() string {
	var all []string
	for _, l := range s.levels {
		all = append(all, fmt.Sprint(l.indent))
	}
	if len(all) == 0 {
		return ""
	}
	return " (they have " + strings.Join(all, ", ") + ")"
}

var closes = map[byte]byte{']': '[', '}': '{'}

// scan goes through the characters of a line. It reports false once it has
// found something.
func (s *structure) scan(line string) bool {
	start := true  // a value may begin here
	ended := false // a quoted scalar or a bracket has just ended
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case s.quote != 0:
			ended = s.quoted(line, &i)
			if s.msg != "" {
				return false
			}
			start = false
			continue
		case c == ' ' || c == '\t':
			continue
		case c == '#' && (i == 0 || line[i-1] == ' '):
			return true
		case ended && !strings.ContainsRune(",:]}", rune(c)) && len(s.open) > 0:
			return s.found(line, i, "found %q, want a comma or the end%s", string(c), quoteHint(line[i-1]))
		case (c == '|' || c == '>') && start && len(s.open) > 0:
			return s.found(line, i, "a block text cannot stand inside of brackets, want quotes")
		case (c == '&' || c == '!') && start: // stands before a value
			for i+1 < len(line) && line[i+1] != ' ' {
				i++
			}
			continue
		case (c == '"' || c == '\'') && start:
			s.quote, s.quoteAt = c, tasktree.Pos{Line: s.line + 1, Col: utf8.RuneCountInString(line[:i]) + 1}
			continue
		case (c == '[' || c == '{') && (start || len(s.open) > 0):
			s.open = append(s.open, bracket{bracket: c, at: tasktree.Pos{Line: s.line + 1, Col: utf8.RuneCountInString(line[:i]) + 1}})
			start = true
			continue
		case closes[c] != 0 && (len(s.open) > 0 || ended):
			if len(s.open) == 0 {
				return s.found(line, i, "%q closes nothing", string(c))
			}
			if top := s.open[len(s.open)-1]; top.bracket != closes[c] {
				return s.found(line, i, "found %q while %q of %s is open", string(c), string(top.bracket), top.at)
			}
			s.open = s.open[:len(s.open)-1]
			ended, start = true, false
			continue
		}
		space := i+1 == len(line) || line[i+1] == ' '
		if n := len(s.open); n > 0 && c == ':' && (space || ended) {
			if s.open[n-1].colons++; s.open[n-1].colons > 1 {
				key := strings.LastIndexAny(strings.TrimRight(line[:i], " "), " ,{[") + 1
				return s.found(line, key, "a second key in one entry, want a comma before it")
			}
		} else if n > 0 && c == ',' {
			s.open[n-1].colons = 0
		}
		start = c == ',' && len(s.open) > 0 || (c == ':' || c == '-' || c == '?') && space
		ended = false
	}
	return true
}

func quoteHint(before byte) string {
	if before == '\'' {
		return " (write '' for a quote inside of quotes)"
	}
	return ""
}

// quoted takes one step inside a quoted scalar and reports its end.
func (s *structure) quoted(line string, i *int) bool {
	c := line[*i]
	switch {
	case c == '\\' && s.quote == '"':
		if *i++; *i < len(line) && !strings.ContainsRune("0abt\tnvfre \"/\\N_LPxuU", rune(line[*i])) {
			s.found(line, *i-1, "unknown escape \\%c (write \\\\ for a backslash, or use single quotes)", []rune(line[*i:])[0])
		}
	case c == s.quote && s.quote == '\'' && *i+1 < len(line) && line[*i+1] == '\'':
		*i++
	case c == s.quote:
		s.quote = 0
		return true
	}
	return false
}
