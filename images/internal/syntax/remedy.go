package syntax

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// remedies maps messages of yaml.v4, or of refine, to remedies. The first match counts.
var remedies = []struct {
	says   string // a part of the message
	here   string // characters, one of which is at the position; \x00: the end of the text; "": any
	remedy string // see words
}{
	{"tab character", "", "a tab in the indentation; use spaces"},
	{"cannot start any token", "\t", "a tab in the indentation; use spaces"},
	{"cannot start any token", "|>", "block text is not possible inside brackets; use quotes"},
	{"cannot start any token", "", "a value without quotes cannot begin with {here}; put quotes around it"},
	{"alphabetic or numeric", "&", "& without quotes begins an anchor; put quotes around text"},
	{"alphabetic or numeric", "*", "* without quotes begins an alias; put quotes around text"},
	{"comment or line break", "", "{here} without quotes begins block text on the lines below; put quotes around text"},
	{"block sequence entries", "", `a list begins on the line of its key; put its "- " on a new line`},
	{"unknown anchor", "", "alias {name} has no anchor before it (make one with &, or put quotes around text)"},
	{"end of stream", `"`, `the quote " is never closed`},
	{"end of stream", "'", "the quote ' is never closed"},
	{"document indicator", "", "the quote {here} is not closed in its document"},
	{"unknown escape", "", `unknown escape {name} (write \\ for a backslash, or use single quotes)`},
	{"hexadecimal", "", `{name} needs hexadecimal digits after it (\x two, \u four, \U eight)`},
	{"surrogate, found", "", `surrogate escapes are JSON, not YAML; write the character itself, or \U and eight digits`},
	{"escape code", "", "there is no character {name}"},
	{"node content", ",", `nothing comes before this comma; write a value there ("" for an empty one), or drop the comma`},
	{"node content", "-", `a "- " inside brackets; put quotes around text, and only commas between entries`},
	{"node content", "\x00", "the text ends inside a bracket; close it"},
	{"node content", "", "a value cannot begin with {here}; put quotes around it"},
	{"is never closed", "", "{here} is never closed"},
	{"',' or", "]}", "found {here} while the {open} at {begin} is open"},
	{"',' or", ":", "a second key in one entry; put a comma before it{or}"},
	{"',' or", "", "found {here} after {end}; put a comma before it{or}, or quotes around the text{hint}"},
	{"next did not find expected '-'", "", `expected the next "- " of the list at this indentation`},
	{"next did not find expected key", "", "expected the next KEY: of the mapping at this indentation"},
	{"between", "", "an indentation of {indent} matches no line above (the list or mapping at {begin} has {own})"},
	{"deeper", "", "indented more than the line above, which already has a value"},
	{"expected key", ",", "a comma after a value that is not in brackets; drop it"},
	{"expected key", "]}", "{here} closes nothing; drop it"},
	{"expected key", "", "found {text} after {end}; start a new entry on its own line, or put quotes around the whole text{hint}"},
	{"second colon", "", `a second ": " in one line; put quotes around the value, or start a new line`},
	{"bracket in key", "", "found {here} in a key; put a colon before it"},
	{"no space", "", "a space is missing after the colon"},
	{"no colon", "", "expected KEY: VALUE, found {text}{write}"},
	{"could not find expected ':'", "", "expected KEY: VALUE, or more indentation, found {text}{write}"},
	{"<document start>", "", "found {text}, which does not belong to the text above; check its indentation"},
	{"max depth", "", "nested too deeply; put fewer lists and mappings inside one another"},
	{"", "", "invalid YAML: {msg}"},
}

var (
	inKey   = regexp.MustCompile(`^[ -]*[A-Za-z_][\w.-]* [{\[]`)
	colon   = regexp.MustCompile(`:(?:\s|$)`)
	noColon = regexp.MustCompile(`^([A-Za-z_]\w*)(?:[ \t=]+([^:#=]*))?$`) // likely meant as KEY: VALUE
	noSpace = regexp.MustCompile(`^[A-Za-z_]\w*:[^\s:/]`)
	name    = regexp.MustCompile(`^\\(?:U[[:xdigit:]]{8}|.?)|^\*[^\s,\[\]{}]{1,40}`) // an escape, an alias
)

// finding is an error of yaml.v4: its message, its position, and the position where the
// enclosing construct begins.
type finding struct {
	lines     []string
	at, begin yaml.Mark
	msg       string
}

// refine distinguishes errors with the same message of yaml.v4, and corrects the position.
func (f *finding) refine() {
	above := f.above()
	before, rest := f.split(f.at)
	_, line := f.split(above)
	first := strings.TrimLeft(before, " ") == "" && strings.TrimLeft(rest, ",]}") == rest && rest != ""
	is := func(part string) bool { return strings.Contains(f.msg, part) }
	switch {
	case is("hexadecimal"), is("escape code"):
		if f.at.Column -= len(`\u`); strings.HasSuffix(before, "u") {
			f.msg = "surrogate, " + f.msg
		}
	case is("alphabetic or numeric"), is("comment or line break"), is("end of stream"), is("document indicator"), is("could not find expected ':'"):
		f.at = f.begin
	case is("',' or") && rest == "":
		f.at, f.msg = f.begin, "bracket is never closed"
	case is("mapping values") && inKey.MatchString(before):
		f.at.Column, f.msg = len(inKey.FindString(before)), "bracket in key"
	case is("mapping values") && (colon.MatchString(before) || above.Line == 0):
		f.msg = "second colon"
	case is("mapping values") && colon.MatchString(line):
		f.at.Column, f.msg = len(before)-len(strings.TrimLeft(before, " "))+1, "deeper"
	case is("mapping values"):
		f.at, f.msg = above, "no colon"
	case !is("expected key") && !is("'-' indicator"):
	case first && f.at.Column == above.Column && !colon.MatchString(line):
		f.at, f.msg = above, "no colon"
	case first && f.at.Column == f.begin.Column:
		f.msg = "next " + f.msg
	case first && f.at.Column < above.Column:
		f.msg = "between"
	default:
		f.msg = "expected key"
	}
	_, rest = f.split(f.at)
	if m := noSpace.FindString(rest); m != "" && (is("no colon") || is("find expected ':'")) {
		f.at.Column, f.msg = f.at.Column+strings.IndexByte(m, ':'), "no space"
	}
}

// above returns the position of the nearest text in a line above, after dashes. Its Line is
// 0 if there is none.
func (f *finding) above() yaml.Mark {
	for i := min(f.at.Line-1, len(f.lines)); i > 0; i-- {
		line := f.lines[i-1]
		if text := strings.TrimLeft(line, " -"); text != "" && text[0] != '#' {
			return yaml.Mark{Line: i, Column: len(line) - len(text) + 1}
		}
	}
	return yaml.Mark{}
}

// split splits the line of a position at the column.
func (f *finding) split(m yaml.Mark) (before, rest string) {
	if m.Line < 1 || m.Line > len(f.lines) {
		return "", ""
	}
	line := []rune(f.lines[m.Line-1])
	n := min(max(m.Column-1, 0), len(line))
	return string(line[:n]), string(line[n:])
}

// problem returns the position and the remedy.
func (f *finding) problem() Problem {
	f.refine()
	before, rest := f.split(f.at)
	_, from := f.split(f.begin)
	here := append([]rune(rest), 0)[0] // no text contains a zero
	i := 0
	for !strings.Contains(f.msg, remedies[i].says) || remedies[i].here != "" && !strings.ContainsRune(remedies[i].here, here) {
		i++
	}
	if remedies[i].here == ":" { // after a key
		before = before[:strings.LastIndexAny(strings.TrimRight(before, " "), " ,{[")+1]
	}
	return Problem{f.at.Line, utf8.RuneCountInString(before) + 1, f.words(before, rest, from).Replace(remedies[i].remedy)}
}

// words replaces the names in braces of a remedy.
func (f *finding) words(before, rest, from string) *strings.Replacer {
	begin := fmt.Sprintf("%d:%d", f.begin.Line, f.begin.Column)
	or, end, hint, write := "", "the end of the value", "", ""
	if f.begin.Line < f.at.Line { // a bracket that is not closed may be the mistake
		or = fmt.Sprintf(" or close the %.1q at %s", from, begin)
	}
	if text := strings.TrimRight(before, " "); strings.HasSuffix(text, `"`) || strings.HasSuffix(text, "'") {
		end = "the closing quote"
		if strings.Count(text, text[len(text)-1:])%2 == 1 {
			hint = " (that quote opened on a line above; close it where its text ends)"
		} else if text == before && strings.HasSuffix(text, "'") {
			hint = " (write '' for a quote inside quotes)"
		}
	}
	if m := noColon.FindStringSubmatch(rest); m != nil {
		write = fmt.Sprintf(" (write %.40q)", strings.TrimSpace(m[1]+": "+m[2]))
	}
	return strings.NewReplacer("{here}", fmt.Sprintf("%.1q", rest), "{open}", fmt.Sprintf("%.1q", from), "{begin}", begin, "{or}", or,
		"{text}", fmt.Sprintf("%.40q", rest), "{end}", end, "{hint}", hint, "{write}", write, "{name}", name.FindString(rest), "{msg}", f.msg,
		"{indent}", strconv.Itoa(f.at.Column-1), "{own}", strconv.Itoa(f.begin.Column-1))
}
