package images

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"gopkg.in/yaml.v3"

	"regrow/images/internal/syntax"
	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// A large description is parsed in pieces. Most of the time of decoding is spent in
// yaml.v3, and its nodes take 30 times the memory of the text. Pieces are parsed and
// decoded on all processors, and the nodes of each are garbage before the next piece is
// read.
//
//	files:                ┐
//	  log: {...}          │ run of entries at column 3: pieces
//	  ...                 ┘
//	tasks:
//	  - name: root
//	    children:         ┐
//	      - name: a       │ run of entries at column 7: pieces
//	      - name: b       │
//	      ...             ┘
//	    fds: {0: log}
//
// A run is the lines after a line that contains only a key. Each of its entries begins
// a line, all in one column, and the rest of the entry is further right. Indentation
// there ends every construct that may span lines, except quotes and brackets; and a
// piece that ends inside quotes or brackets is not valid YAML. The rest of the text is
// parsed with empty lines in place of the runs.
//
// An alias stands for the last anchor of its name before it. If an alias is in a piece
// and its anchor is not in the same piece, that piece has a problem. An alias in the
// rest may stand for an anchor in a piece, even if the rest has an earlier anchor of
// that name. A directive applies to the whole text, so a text with a directive is not
// read in pieces.
//
// Only a description without problems is read in pieces. If anything in a piece is
// unexpected, the whole text is parsed at once, and only that result counts.

const (
	piecesBytes = 32 << 10 // shortest text that is read in pieces
	runEntries  = 2        // smallest number of entries of a run
)

// run is a list or mapping whose entries are lines of their own.
type run struct {
	key        tasktree.Pos // of its key
	col        int          // of the entries, 0-based
	isList     bool
	start, end int // offsets in the text
	line       int // of start, 0-based
	entries    int
	broken     bool // a line belongs to none of the entries

	files files // its decoded entries, if it is the value of files
	tasks tasks // its decoded entries, if it is a list of children
	taken int   // how often the decoder has used it
}

// piece is a part of a run.
type piece struct {
	run        *run
	start, end int
	line       int // lines before it
	d          *decoder
	files      files
	tasks      tasks
}

// decodePieces reads a description of at least that many bytes, in pieces of about a
// quarter of them. It returns false if the whole text must be parsed at once; d must not be
// used then.
func (d *decoder) decodePieces(text []byte, least int) bool {
	if _, ok := syntax.Junk(text); !ok || len(text) < least || len(text) > MaxBytes {
		return false
	}
	runs := findRuns(text, least)
	if len(runs) == 0 {
		return false
	}
	var pieces []*piece
	for _, r := range runs {
		pieces = append(pieces, r.cut(text, max(1, least/4))...)
	}
	if !readPieces(text, pieces, d.aliased) {
		return false
	}
	d.runs = map[tasktree.Pos]*run{}
	for _, r := range runs {
		d.runs[r.key] = r
	}
	for _, p := range pieces {
		d.nodes += p.d.nodes
		p.run.files = append(p.run.files, p.files...)
		p.run.tasks = append(p.run.tasks, p.tasks...)
	}
	root := d.parse(without(text, runs))
	if root == nil || d.nodes > MaxNodes {
		return false
	}
	hasAnchor := func(p *piece) bool { return p.d.anchors }
	if d.aliases && slices.ContainsFunc(pieces, hasAnchor) {
		return false
	}
	d.document(node{d: d, n: root}.target())
	for _, r := range runs {
		if r.taken != 1 {
			return false
		}
	}
	return len(d.problems) == 0 && len(d.tree.Check()) == 0
}

// readPieces parses and decodes all pieces. It stops and returns false if one has a problem.
func readPieces(text []byte, pieces []*piece, sum *aliased) bool {
	var next atomic.Int64
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pieces)) {
		workers.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= len(pieces) {
					return
				}
				if !pieces[i].read(text, sum) {
					failed.Store(true)
				}
			}
		})
	}
	workers.Wait()
	return !failed.Load()
}

func (p *piece) read(text []byte, sum *aliased) bool {
	p.d = newDecoder("", "")
	p.d.aliased = sum
	p.d.lines = p.line
	root := p.d.parseText(text[p.start:p.end])
	if root == nil {
		return false
	}
	v := node{d: p.d, n: root}
	if !p.run.isList {
		p.d.entries(v, &p.files, schema.Help{})
		return len(p.d.problems) == 0
	}
	p.d.items(v, &p.tasks, schema.Help{})
	return len(p.d.problems) == 0
}

// take returns the run that is the value of a key, or nil.
func (d *decoder) take(f field) *run {
	r := d.runs[f.key.pos()]
	if r == nil || !f.value.nothing() {
		return nil
	}
	r.taken++
	return r
}

// list and mapping return the decoded entries in the form that [schema.Splicer] takes.
func (r *run) list() any    { return &r.tasks }
func (r *run) mapping() any { return &r.files }

// findRuns finds the outermost runs that are large enough, in their order.
func findRuns(text []byte, least int) []*run {
	for _, odd := range []string{"\r", "\u0085", "\u2028", "\u2029", "\t"} { // other line ends, and tabs
		if bytes.Contains(text, []byte(odd)) {
			return nil
		}
	}
	if bytes.HasPrefix(text, []byte("%")) || bytes.Contains(text, []byte("\n%")) {
		return nil
	}
	s := &runScan{}
	for at := 0; at < len(text); s.line++ {
		end := len(text)
		if n := bytes.IndexByte(text[at:], '\n'); n >= 0 {
			end = at + n
		}
		s.look(text[at:end], at)
		at = end + 1
	}
	s.close(0, 0, len(text))
	var picked []*run
	for _, r := range s.runs {
		if n := len(picked); n > 0 && r.start < picked[n-1].end {
			continue // inside of it
		}
		if !r.broken && r.entries >= runEntries && r.end-r.start >= least/2 {
			picked = append(picked, r)
		}
	}
	return picked
}

// runScan scans the lines of a text.
type runScan struct {
	line int    // 0-based
	runs []*run // in the order of their keys
	open []*run // those to which the next line may belong, outermost first
	key  *run   // a run without entries, if the last line was a key alone
}

// look scans one line.
func (s *runScan) look(line []byte, at int) {
	indent := 0
	for indent < len(line) && line[indent] == ' ' {
		indent++
	}
	if indent == len(line) || line[indent] == '#' {
		return
	}
	dash := bytes.HasPrefix(line[indent:], []byte("- "))
	if r := s.key; r != nil {
		s.key = nil
		if keyCol := r.key.Col - 1; indent > keyCol && dash == r.isList || indent == keyCol && dash && r.isList {
			r.col, r.start, r.line = indent, at, s.line
			s.runs, s.open = append(s.runs, r), append(s.open, r)
		}
	}
	s.close(indent, 1, at)
	if n := len(s.open); n > 0 && s.open[n-1].col == indent {
		if r := s.open[n-1]; dash == r.isList {
			r.entries++
		} else {
			s.close(indent, 0, at)
		}
	}
	s.key = keyAlone(line, indent, s.line)
}

// close ends the runs whose entries are right of column indent - less.
func (s *runScan) close(indent, less, at int) {
	for n := len(s.open); n > 0 && s.open[n-1].col > indent-1+less; n-- {
		r := s.open[n-1]
		r.end = at
		r.broken = indent > r.key.Col-1 // between the key and its entries
		s.open = s.open[:n-1]
	}
}

// keyAlone returns an empty run if a line contains only a key whose value may be read in
// pieces, else nil.
func keyAlone(line []byte, indent, number int) *run {
	text := bytes.TrimRight(line, " ")
	at := indent
	for bytes.HasPrefix(text[at:], []byte("- ")) {
		at += 2
		for at < len(text) && text[at] == ' ' {
			at++
		}
	}
	r := &run{key: tasktree.Pos{Line: number + 1, Col: at + 1}}
	switch string(text[at:]) {
	case "children:":
		r.isList = true
		return r
	case "files:":
		if at == 0 {
			return r
		}
	}
	return nil
}

// cut cuts a run into pieces of about size bytes.
func (r *run) cut(text []byte, size int) []*piece {
	var pieces []*piece
	p := &piece{run: r, start: r.start, line: r.line}
	line := r.line
	for at := r.start; at < r.end; line++ {
		if at-p.start >= size && r.begins(text[at:r.end]) {
			p.end = at
			pieces = append(pieces, p)
			p = &piece{run: r, start: at, line: line}
		}
		n := bytes.IndexByte(text[at:r.end], '\n')
		if n < 0 {
			break
		}
		at += n + 1
	}
	p.end = r.end
	return append(pieces, p)
}

// begins reports whether a text begins with an entry of the run.
func (r *run) begins(text []byte) bool {
	for i := range r.col {
		if i >= len(text) || text[i] != ' ' {
			return false
		}
	}
	return r.col < len(text) && text[r.col] != ' ' && text[r.col] != '#' && text[r.col] != '\n'
}

// without returns the text with empty lines in place of the runs.
func without(text []byte, runs []*run) []byte {
	var rest []byte
	from := 0
	for _, r := range runs {
		rest = append(rest, text[from:r.start]...)
		rest = append(rest, bytes.Repeat([]byte("\n"), bytes.Count(text[r.start:r.end], []byte("\n")))...)
		from = r.end
	}
	return append(rest, text[from:]...)
}

// parseText returns the top node of the only document of a piece, or nil.
func (d *decoder) parseText(text []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	if dec.Decode(&doc) != nil || !errors.Is(dec.Decode(&second), io.EOF) {
		return nil
	}
	root := doc.Content[0]
	if !d.affordable(root, map[*yaml.Node]bool{}, 0, false) {
		return nil
	}
	return root
}
