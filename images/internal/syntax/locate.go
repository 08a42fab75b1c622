package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	v3 "gopkg.in/yaml.v3"
)

// Limits of the work of yaml.v4: the worst text takes 1 ms of a processor and 1 MiB for
// each KiB.
const (
	window = 64 << 10 // bytes of the text that yaml.v3 has read, at its end
	ahead  = 10       // lines after that
	masks  = 4        // number of refusals of text that yaml.v3 accepts
)

// Locate returns the position and the remedy of the error for which yaml.v3 refuses a text.
func Locate(text []byte, err error) Problem {
	m := fromV3.FindStringSubmatch(strings.TrimSpace(err.Error()))
	line, _ := strconv.Atoi(m[1])
	msg, end := m[2], reach(text)
	read := at(text, end, "invalid YAML: %s", msg)
	lines := Lines(string(text))
	if p := ask(lines, read.Line, msg); p != nil {
		return *p
	}
	// yaml.v4 accepts the text.
	if i := bytes.LastIndexByte(text[:end], '?'); i >= 0 && strings.Contains(msg, "',' or") {
		return at(text, i, "? inside brackets begins a key; put quotes around the text")
	}
	for i := max(0, line-1); i < read.Line && strings.Contains(msg, "cannot start any token"); i++ {
		if m := tab.FindString(lines[i]); m != "" {
			return Problem{i + 1, len(m), "a tab in the indentation; use spaces"}
		}
	}
	if line > 0 && line < read.Line && !ofParser.MatchString(msg) {
		read.Line = line
	}
	for read.Line > 1 && strings.TrimSpace(lines[read.Line-1]) == "" {
		read.Line--
	}
	return Problem{read.Line, 1, fmt.Sprintf("invalid YAML near line %d: %s", read.Line, msg)}
}

var (
	fromV3 = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)
	tab    = regexp.MustCompile(`^[ -]*\t`)
	// Messages that come with the line where an enclosing construct begins.
	ofParser = regexp.MustCompile(`^did not find expected (?:key|'-' indicator|',' or|node content|<)`)
)

// reach returns the offset at which yaml.v3 refuses a text, or slightly more.
func reach(text []byte) int {
	rest := bytes.NewReader(text)
	dec := v3.NewDecoder(byByte{rest})
	for err := error(nil); err == nil; {
		err = dec.Decode(new(v3.Node))
	}
	return len(text) - rest.Len()
}

// byByte reads one byte at a time.
type byByte struct{ io.Reader }

func (r byByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

var newLoader = yaml.NewLoader // a variable for tests

// ask parses a text, of which yaml.v3 has read that many lines, with yaml.v4. It returns nil
// if yaml.v4 accepts what yaml.v3 refuses, or refuses another part of the text.
func ask(lines []string, read int, msg string) (p *Problem) {
	defer func() {
		if recover() != nil { // a bug of yaml.v4, which only improves the position
			p = nil
		}
	}()
	from := start(lines[:read])
	part := append([]string{}, lines[from:min(len(lines), read+ahead)]...)
	for range masks {
		loader, err := newLoader(strings.NewReader(strings.Join(part, "\n")))
		for n := 0; n < 2 && err == nil; n++ { // as many documents as yaml.v3 has parsed
			err = loader.Load(new(yaml.Node))
		}
		e, ok := errors.AsType[*yaml.LoadError](err)
		if !ok || e.Mark.Line < 1 {
			return nil
		}
		f := &finding{lines: part, msg: e.Message, at: e.Mark, begin: e.ContextMark}
		if f.begin.Line < 1 {
			f.begin = f.at
		}
		before, rest := f.split(f.at)
		switch { // text that yaml.v3 accepts
		case strings.HasPrefix(f.msg, "found unknown escape") && strings.HasPrefix(rest, `\'`):
			part[f.at.Line-1] = before + "  " + rest[2:]
		case strings.HasPrefix(f.msg, "found a comment without"):
			part[f.at.Line-1] = before
		default:
			f.lines = lines
			f.at.Line += from
			f.begin.Line += from
			if f.at.Line > read+1 || from > 0 && f.msg != msg && f.at.Line < read-ahead {
				return nil
			}
			if last := len(lines); f.at.Line > last { // the end of the text
				f.at = yaml.Mark{Line: last, Column: utf8.RuneCountInString(lines[last-1]) + 1}
			}
			p := f.problem()
			return &p
		}
	}
	return nil
}

// start returns the index of the first line of the part of a long text that yaml.v4 parses:
// a line with the smallest indentation, as if the text began there. It is not one of the
// last lines, which may contain the mistake.
func start(lines []string) int {
	from, least, size := len(lines), window, 0
	for i, line := range slices.Backward(lines) {
		if size += len(line) + 1; size > window {
			return from
		}
		text := strings.TrimLeft(line, " ")
		if n := len(line) - len(text); n <= least && i < len(lines)-2 && text != "" && text[0] != '#' {
			from, least = i, n
		}
	}
	return 0
}
