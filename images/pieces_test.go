package images

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// sameInPieces checks that a text has the same meaning, or the same problems, whether it is
// read at once or in pieces of about a quarter of least bytes. It reports whether the text
// was read in pieces.
func sameInPieces(t *testing.T, text string, least int) bool {
	t.Helper()
	want, wantErr := decode([]byte(text), "tree.yaml", "", math.MaxInt)
	d := newDecoder("tree.yaml", "")
	pieces := d.decodePieces([]byte(text), least)
	if pieces && wantErr != nil {
		t.Fatalf("read in pieces (%d bytes) there is no problem, read at once: %v\n%s", least, wantErr, text)
	}
	if pieces && !reflect.DeepEqual(d.tree, want) {
		t.Fatalf("the trees differ, read in pieces (%d bytes):\n%s", least, text)
	}
	got, err := decode([]byte(text), "tree.yaml", "", least)
	if fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("got %v\nwant %v", err, wantErr)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("the trees differ:\n%s", text)
	}
	return pieces
}

// TestPieces checks which texts are read in pieces.
func TestPieces(t *testing.T) {
	const files = "version: 1\nfiles:\n  a: {type: pipe}\n  b: {type: pipe}\n  # of c\n\n  c:\n    type: pipe\n    content: |\n      x\n  d: {type: pipe}\n"
	const children = "tasks:\n  - name: root\n    children:\n      - name: a\n        fds: {0: a.r}\n      - {name: b, fds: {1: a.w}}\n      - name: c\n        children:\n        - name: d\n        - name: e\n    fds: {7: b.r}\n"
	for _, c := range []struct {
		name, text string
		pieces     bool
	}{
		{"files and children", files + children, true},
		{"no end of the last line", strings.TrimSpace(files + children), true},
		{"list in its key's column", "version: 1\ntasks:\n- name: r\n  children:\n  - name: a\n  - name: b\n  - name: c\n  cwd: /\n", true},
		{"key behind a dash", "version: 1\ntasks:\n- children:\n    - name: a\n    - name: b\n    - name: c\n  name: r\n", true},
		{"unknown file", strings.Replace(files+children, "a.w", "x.w", 1), false},
		{"twice the same file", strings.Replace(files+children, "  d:", "  a:", 1), false},
		{"twice the same task", strings.Replace(files+children, "name: e", "name: a", 1), false},
		{"anchor in another piece", strings.NewReplacer("  a: {", "  a: &p {", "  d: {type: pipe}", "  d: *p").Replace(files + children), false},
		{"anchor above the run", strings.NewReplacer("- name: root", "- &r\n    name: root").Replace(files + children), true},
		{"anchor in a piece, of an alias below it", "version: 1\ntasks:\n  - name: r\n    cwd: &p /a\n    children:\n      - name: a\n        cwd: &p /b\n      - name: b\n    env: {X: *p}\n", false},
		{"anchors in pieces, their aliases in the same", "version: 1\ntasks:\n  - name: r\n    children:\n      - name: a\n        cwd: &p /b\n        env: {X: *p}\n      - name: b\n", true},
		{"tags that a directive gives another meaning", "%TAG !! tag:example.org,2026:\n---\nversion: 1\nfiles:\n  a: {type: reg, path: !!binary L2Rldi9udWxs}\n  b: {type: pipe}\ntasks:\n  - name: r\n    fds: {0: a, 1: b.r, 2: b.w}\n", false},
		{"children of an anchor twice", "version: 1\ntasks:\n  - name: r\n    children:\n      - &x\n        name: a\n        children:\n          - name: b\n          - name: c\n      - *x\n", false},
		{"text that looks like it", "version: 1\ntasks:\n  - name: r\n    run:\n      - |\n        children:\n          - name: a\n          - name: b\n          - name: c\n", false},
		{"quotes over entries", "version: 1\ntasks:\n  - name: r\n    children:\n      - name: a\n        run: [\"x\n      - name: b\n      - name: c\"]\n", false},
		{"brackets over entries", "version: 1\ntasks:\n  - name: r\n    children:\n      - name: a\n        run: [x,\n      y: z,\n      - name: c]\n", false},
		{"entries that end too far right", "version: 1\ntasks:\n  - name: r\n    children:\n        - name: a\n        - name: b\n      cwd: /\n", false},
		{"second document", files + children + "---\nversion: 1\n", false},
		{"carriage returns", strings.ReplaceAll(files+children, "\n", "\r\n"), false},
		{"nothing below", "version: 1\nfiles:\ntasks:\n  - name: r\n    children:\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := sameInPieces(t, c.text, 16); got != c.pieces {
				t.Errorf("in pieces: %v, want %v", got, c.pieces)
			}
		})
	}
}

// TestLargePieces checks that a large description is read in pieces with the default size.
func TestLargePieces(t *testing.T) {
	text := wideTree(5000)
	if len(text) < piecesBytes || !sameInPieces(t, text, piecesBytes) {
		t.Errorf("%d bytes are not read in pieces", len(text))
	}
	at := strings.LastIndex(text, "name: t")
	if sameInPieces(t, text[:at]+"nam: t"+text[at+7:], piecesBytes) {
		t.Error("a task without a name is not reported")
	}
}

// wideTree describes a root with n children that share files in turn.
func wideTree(n int) string {
	var text strings.Builder
	text.WriteString("version: 1\nfiles:\n")
	for i := range 200 {
		fmt.Fprintf(&text, "  f%d: {type: reg, path: /dev/null}\n", i)
	}
	text.WriteString("tasks:\n  - name: root\n    children:\n")
	for i := range n {
		fmt.Fprintf(&text, "      - name: t%d\n        fds: {", i)
		for fd := range 10 {
			fmt.Fprintf(&text, "%d: f%d, ", fd, (i+fd)%200)
		}
		text.WriteString("}\n")
	}
	return text.String()
}

// FuzzPieces reads any text, and lines of valid descriptions in any order.
func FuzzPieces(f *testing.F) {
	for i, text := range descriptions(f) {
		f.Add(text, uint64(i), uint16(16))
	}
	f.Add("", uint64(1), uint16(8))
	f.Fuzz(func(t *testing.T, text string, seed uint64, least uint16) {
		sameInPieces(t, text, int(least)+1)
		sameInPieces(t, mixed(rand.New(rand.NewPCG(seed, 0))), int(least)%512+1)
	})
}

// mixed makes a text of lines of descriptions, most of them in valid places.
func mixed(r *rand.Rand) string {
	var text strings.Builder
	text.WriteString("version: 1\n")
	some := []string{
		"a%d: {type: pipe}", "b%d:\n    type: pipe", "# %d", "c%d: {type: reg, path: '/x", "d%d: {type: reg,\npath: /}", "e%d: &a%[1]d {type: pipe}", "f%d: *a1", "h%d: {type: reg, path: &p /x%[1]d}", "", "? g%d\n: {type: pipe}",
	}
	tasks := []string{
		"- name: t%d", "- {name: u%d}", "- name: v%d\nrun: [ls, \"x", "- name: w%d\ncwd: |\n /a", "- &b%d {name: x%[1]d}", "- *b1", "# %d", "", "- name: y%d\nchildren:\n- name: z%[1]d", "-", "cwd: /%d", "- name: q%d\nrun:\n- ls\n  - x", "- name: s%d\ncwd: &p /p%[1]d",
	}
	block := func(lines []string, indent, n int) {
		for range n {
			line := lines[0]
			if r.IntN(8) == 0 {
				line = lines[r.IntN(len(lines))]
			}
			at := indent
			if r.IntN(40) == 0 {
				at += r.IntN(5) - 2
			}
			for l := range strings.Lines(fmt.Sprintf(strings.ReplaceAll(line+"%.0[1]d", "\n", "\n"), r.IntN(1000))) {
				more := 0
				if l[0] != '-' && strings.HasPrefix(line, "- ") {
					more = 2
				}
				fmt.Fprintf(&text, "%*s%s\n", at+more, "", strings.TrimSuffix(l, "\n"))
			}
		}
	}
	text.WriteString("files:\n")
	block(some, 2, r.IntN(12))
	text.WriteString("tasks:\n  - name: root\n")
	if r.IntN(3) == 0 {
		text.WriteString("    env: {A: &p above}\n")
	}
	text.WriteString("    children:\n")
	block(tasks, 4+r.IntN(4), r.IntN(20))
	if r.IntN(3) == 0 {
		text.WriteString("    cwd: " + []string{"/", "*p"}[r.IntN(2)] + "\n")
	}
	return text.String()
}

// TestNothingIsKept checks that a decoder does not keep nodes that it has decoded: those of
// a large description need many times the memory of its text.
func TestNothingIsKept(t *testing.T) {
	d := newDecoder("tree.yaml", "")
	root := d.parse([]byte("version: 1\nfiles: {p: {type: pipe}}\ntasks: [{name: a, fds: {0: p.r}, run: [ls], shares: {files: b}}]\n"))
	d.document(node{d: d, n: root})
	if len(d.spare) < 3 {
		t.Fatalf("%d visits", len(d.spare))
	}
	for _, m := range d.spare {
		if m.v.n != nil || m.got != nil {
			t.Errorf("a visit that has ended still has %+v", m)
		}
	}
}
