package images

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"regrow/images/internal/syntax"
	"regrow/tasktree"
)

// Limits of a description.
const (
	MaxBytes = 64 << 20  // of the text
	MaxNodes = 4_000_000 // values, with all aliases expanded

	// Limits of what aliases expand to: with them a short text can become huge.
	MaxAliased      = 250_000  // values
	MaxAliasedBytes = 16 << 20 // of text in those values

	maxDepth = 9_000 // levels of nesting; yaml.v3 stops at 10,000
)

// Load decodes the description in a file. Its relative paths start at the file's
// folder, or at the current folder if it can be read only once: see [Open].
//
// The error is an [*Error] if the description is invalid, else one of opening or
// reading.
func Load(path string) (*tasktree.Tree, error) {
	in, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was only read
	return in.Decode()
}

// Decode reads one description. source is its name in messages ("tree.yaml"). dir is
// the folder at which its relative paths start, "" the current one. The returned tree
// has passed [tasktree.Tree.Check].
//
// The error is an [*Error] if the description is invalid, else one of reading.
func Decode(r io.Reader, source, dir string) (*tasktree.Tree, error) {
	var known int64
	if f, ok := r.(*os.File); ok {
		if info, err := f.Stat(); err == nil {
			known = min(info.Size(), MaxBytes)
		}
	}
	buffer := bytes.NewBuffer(make([]byte, 0, known+bytes.MinRead))
	_, err := buffer.ReadFrom(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("images: %s: %w", source, err)
	}
	return decode(bytes.TrimPrefix(buffer.Bytes(), []byte("\xef\xbb\xbf")), source, dir, piecesBytes)
}

// decode decodes a text, in pieces if it has at least that many bytes.
func decode(text []byte, source, dir string, least int) (*tasktree.Tree, error) {
	d := newDecoder(source, dir)
	if d.decodePieces(text, least) {
		return d.tree, nil
	}
	d = newDecoder(source, dir)
	if root := d.parse(text); root != nil {
		d.document(node{d: d, n: root}.target())
		d.check()
	}
	if len(d.problems) == 0 {
		return d.tree, nil
	}
	lines := syntax.Lines(string(text))
	for i := range d.problems {
		d.problems[i].Pos = within(lines, d.problems[i].Pos)
	}
	problems := tasktree.SortProblems(d.problems)
	if d.more {
		problems = append(problems, tasktree.TooMany(problems[len(problems)-1].Pos))
	}
	return nil, &Error{Invalid: &tasktree.InvalidError{Source: source, Problems: problems}, lines: lines}
}

// within moves a position behind the text to the end of the text. yaml.v3 puts a missing
// value at the end of the text on the line after the last.
func within(lines []string, pos tasktree.Pos) tasktree.Pos {
	if pos.Line <= len(lines) {
		return pos
	}
	return tasktree.Pos{Line: len(lines), Col: utf8.RuneCountInString(lines[len(lines)-1]) + 1}
}

// decoder collects the tree and its problems.
type decoder struct {
	tree     *tasktree.Tree
	problems []tasktree.Problem
	more     bool // there are more than tasktree.MaxProblems
	nodes    int
	aliased  *aliased
	anchors  bool            // the text has an anchor
	aliases  bool            // the text has an alias
	silent   map[string]bool // paths of values that are missing or did not decode, which was reported
	keys     []string        // that the declarations of the mappings in progress have bound
	spare    []*visit
	lines    int // of the description before this piece
	runs     map[tasktree.Pos]*run
}

// aliased counts the values and bytes to which aliases expand. The decoders of pieces
// share it.
type aliased struct{ values, bytes atomic.Int64 }

func newDecoder(source, dir string) *decoder {
	return &decoder{tree: &tasktree.Tree{Source: source, Dir: dir}, aliased: &aliased{}}
}

// report adds a problem at the path of a node. The message is formatted only if the list is
// not full.
func (d *decoder) report(pos tasktree.Pos, at node, format string, args ...any) {
	if d.full() {
		d.more = true
		return
	}
	d.problems = append(d.problems, tasktree.Problem{Pos: pos, Path: at.path(), Msg: fmt.Sprintf(format, args...)})
}

// parse returns the top node of the only document. If there is none, it reports a problem
// and returns nil.
func (d *decoder) parse(text []byte) *yaml.Node {
	if len(text) > MaxBytes {
		d.report(tasktree.Pos{}, node{}, "the description is longer than %d MiB", MaxBytes>>20)
		return nil
	}
	if p, ok := syntax.Junk(text); !ok {
		d.broke(p)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.report(tasktree.Pos{Line: 1, Col: 1}, node{}, "the description is empty; write version: 1, files and tasks")
		return nil
	case err != nil:
		d.broke(syntax.Locate(text, err))
		return nil
	}
	var second yaml.Node // the problems of the first document are still reported
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.broke(syntax.Locate(text, err))
	default:
		pos := tasktree.Pos{Line: second.Line, Col: second.Column}
		d.report(pos, node{}, "a second document begins here; a file holds one description")
	}
	root := doc.Content[0]
	if !d.affordable(root, map[*yaml.Node]bool{}, 0, false) {
		return nil
	}
	return root
}

// broke reports a text that is not YAML.
func (d *decoder) broke(p syntax.Problem) {
	d.report(tasktree.Pos{Line: p.Line, Col: p.Col}, node{}, "%s", p.Msg)
}

// affordable walks the nodes as the decoder will, with aliases followed, and reports
// cycles, too much depth and too many values. It reports one problem at most.
func (d *decoder) affordable(n *yaml.Node, open map[*yaml.Node]bool, depth int, aliased bool) bool {
	at := tasktree.Pos{Line: n.Line, Col: n.Column}
	if aliased && (d.aliased.values.Add(1) > MaxAliased || d.aliased.bytes.Add(int64(len(n.Value))) > MaxAliasedBytes) {
		d.report(at, node{}, "aliases expand to too much: at most %d values and %d MiB of text", MaxAliased, MaxAliasedBytes>>20)
		return false
	}
	if d.nodes++; d.nodes > MaxNodes {
		d.report(at, node{}, "too many values: at most %d, with all aliases followed", MaxNodes)
		return false
	}
	if depth > maxDepth {
		d.report(at, node{}, "nested too deeply: at most %d levels", maxDepth)
		return false
	}
	d.anchors = d.anchors || n.Anchor != ""
	if n.Kind == yaml.AliasNode {
		d.aliases = true
		if open[n.Alias] {
			d.report(at, node{}, "alias *%s is inside its own anchor", n.Value)
			return false
		}
		return d.affordable(n.Alias, open, depth+1, true)
	}
	if len(n.Content) == 0 {
		return true
	}
	if n.Anchor != "" {
		open[n] = true
		defer delete(open, n)
	}
	for _, c := range n.Content {
		if !d.affordable(c, open, depth+1, aliased) {
			return false
		}
	}
	return true
}

// full reports whether the list of problems is full.
func (d *decoder) full() bool { return len(d.problems) >= tasktree.MaxProblems }

// stop reports whether decoding should stop because the list is full. It records that the
// list is not complete.
func (d *decoder) stop() bool {
	d.more = d.more || d.full()
	return d.more
}

// unread records a value that did not decode, so that problems of its zero value are not
// reported.
func (d *decoder) unread(path string) {
	if d.silent == nil {
		d.silent = map[string]bool{}
	}
	if !d.full() {
		d.silent[path] = true
	}
}

// didYouMean returns a hint, unless the list of problems is full.
func (d *decoder) didYouMean(word string, candidates []string) string {
	if d.full() {
		return ""
	}
	return tasktree.DidYouMean(word, candidates)
}

// document decodes the top mapping.
func (d *decoder) document(v node) {
	doc := &document{}
	d.decode(v, "a mapping with version, namespaces, files and tasks", doc.Fields)
	doc.tree(d.tree)
	if n := doc.version; n.Pos.IsValid() && n.Value != tasktree.Version {
		up := v
		d.report(n.Pos, node{d: d, up: &up, step: "version"}, "version %d is unknown; this regrow reads version %d", n.Value, tasktree.Version)
	}
}

// check applies the rules of the model and adds their problems, except those that only
// follow from a value that did not decode.
func (d *decoder) check() {
	if d.more {
		return
	}
	for _, p := range d.tree.Check() {
		noRoot := p.Path == "tasks" && len(d.problems) > 0
		if !noRoot && !d.silent[p.Path] {
			d.problems = append(d.problems, p)
		}
	}
}
