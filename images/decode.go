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

// What a description may cost at most.
const (
	MaxBytes = 64 << 20  // of a description
	MaxNodes = 4_000_000 // values, each alias counted with all that it stands for

	// Of these, what stands for aliases: a short text can say much with them.
	MaxAliased      = 250_000  // values
	MaxAliasedBytes = 16 << 20 // of text in them

	maxDepth = 9_000 // of nesting; yaml.v3 stops at 10,000
)

// Load decodes the description in a file. Relative paths in it start at the
// file's folder, or at the current one if it has none of its own: see [Open].
//
// The error is an [*Error] if the description is wrong, else one of opening or
// reading.
func Load(path string) (*tasktree.Tree, error) {
	in, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was only read
	return in.Decode()
}

// Decode reads one description. source names it in messages ("tree.yaml"), dir
// is the folder that its relative paths start at, "" the current one. The tree
// has passed [tasktree.Tree.Check].
//
// The error is an [*Error] if the description is wrong, else one of reading.
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

// decode decodes a text, in pieces if it has at least so many bytes.
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

// within gives the end of the text for a position behind it: yaml.v3 puts a
// value that the text ends without on the line after the last.
func within(lines []string, pos tasktree.Pos) tasktree.Pos {
	if pos.Line <= len(lines) {
		return pos
	}
	return tasktree.Pos{Line: len(lines), Col: utf8.RuneCountInString(lines[len(lines)-1]) + 1}
}

// decoder collects the tree and what is wrong with it.
type decoder struct {
	tree     *tasktree.Tree
	problems []tasktree.Problem
	more     bool // there were more than tasktree.MaxProblems
	nodes    int
	aliased  *aliased
	anchors  bool            // there is an anchor
	aliases  bool            // there is an alias
	silent   map[string]bool // paths of values that did not decode, or are missing: reported
	keys     []string        // that the declarations of open mappings have asked for
	spare    []*visit
	lines    int // of the description before the text
	runs     map[tasktree.Pos]*run
}

// aliased counts what stands for aliases. Decoders of pieces share it.
type aliased struct{ values, bytes atomic.Int64 }

func newDecoder(source, dir string) *decoder {
	return &decoder{tree: &tasktree.Tree{Source: source, Dir: dir}, aliased: &aliased{}}
}

// report adds a problem at the path of a node. Its words are put together only if
// somebody will read them.
func (d *decoder) report(pos tasktree.Pos, at node, format string, args ...any) {
	if d.full() {
		d.more = true
		return
	}
	d.problems = append(d.problems, tasktree.Problem{Pos: pos, Path: at.path(), Msg: fmt.Sprintf(format, args...)})
}

// parse gives the top node of the one document, or nil after a report.
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
	var second yaml.Node // what is wrong with the first is of interest all the same
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

// broke reports a text that is no YAML.
func (d *decoder) broke(p syntax.Problem) {
	d.report(tasktree.Pos{Line: p.Line, Col: p.Col}, node{}, "%s", p.Msg)
}

// affordable walks everything as the decoder will, aliases followed, and
// reports cycles, depth and sheer number. It reports once.
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

// full reports whether no more problems are wanted.
func (d *decoder) full() bool { return len(d.problems) >= tasktree.MaxProblems }

// stop reports the same to who would go on, and notes that not all was looked at.
func (d *decoder) stop() bool {
	d.more = d.more || d.full()
	return d.more
}

// unread notes a value that did not decode: what the rules make of its zero value
// is of no interest.
func (d *decoder) unread(path string) {
	if d.silent == nil {
		d.silent = map[string]bool{}
	}
	if !d.full() {
		d.silent[path] = true
	}
}

// didYouMean gives a hint for a problem that will be read.
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

// check applies the rules of the model and takes over what they find, but for
// what only follows from a value that did not decode.
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
