package images

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"regrow/images/internal/syntax"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// sameTree compares trees except for positions and for the fields that Check derives.
var sameTree = cmp.Options{
	// A value that is said differs from one that is not, for example a mode.
	cmp.Comparer(func(a, b tasktree.Pos) bool { return a.IsValid() == b.IsValid() }),
	cmpopts.IgnoreFields(tasktree.Text{}, "Set"),
	cmpopts.IgnoreFields(tasktree.Number{}, "Set"),
	cmpopts.IgnoreUnexported(tasktree.Tree{}),
	cmpopts.IgnoreFields(tasktree.Task{}, "Parent", "Alias"),
	cmpopts.IgnoreFields(tasktree.Descriptor{}, "Open"),
	cmpopts.IgnoreFields(tasktree.OpenFile{}, "Uses"),
	cmpopts.IgnoreUnexported(kind.Unix{}), // what nothing tells apart in a live one
	cmpopts.EquateEmpty(),
}

// comesBack encodes a tree and checks that decoding it returns an equal tree.
func comesBack(t *testing.T, tree *tasktree.Tree, options ...cmp.Option) string {
	t.Helper()
	var text strings.Builder
	if err := Encode(&text, tree); err != nil {
		t.Fatal(err)
	}
	again, err := Decode(strings.NewReader(text.String()), tree.Source, tree.Dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	if diff := cmp.Diff(tree, again, append(options, sameTree)...); diff != "" {
		t.Fatalf("the tree (-) and the decoded tree (+):\n%s\n%s", diff, text.String())
	}
	if len(tree.Tasks()) != len(again.Tasks()) || len(tree.Warnings()) != len(again.Warnings()) {
		t.Fatalf("%d tasks and warnings %v, then %d and %v", len(tree.Tasks()), tree.Warnings(), len(again.Tasks()), again.Warnings())
	}
	return text.String()
}

// FuzzDecode decodes any text. Decode must not panic; a valid description encodes to an
// equal tree; the problems of an invalid one are sorted and have positions in the text.
func FuzzDecode(f *testing.F) {
	for _, text := range descriptions(f) {
		f.Add(text)
	}
	f.Add("version: 1\ncaller: {nofile: 9, open: 40, inherit_fd: {a: 0, b: 4096}, service_fd: 0, restores: 8}\ntasks: [{name: a}]\n" +
		"expect: {fdstore: holds, service: breaks, inherit: refused, naive fdstore: holds, naive inherit: breaks, naive service: holds}\n")
	f.Fuzz(func(t *testing.T, text string) {
		tree, err := Decode(strings.NewReader(text), "fuzz.yaml", "")
		if err == nil {
			comesBack(t, tree)
			return
		}
		invalid, ok := errors.AsType[*tasktree.InvalidError](err)
		if !ok || len(invalid.Problems) == 0 {
			t.Fatalf("got %v", err)
		}
		lines := len(syntax.Lines(text))
		for _, p := range invalid.Problems {
			if p.Pos.Line > lines {
				t.Errorf("%v is behind the text's %d lines", p, lines)
			}
		}
		if !slices.IsSortedFunc(invalid.Problems, func(a, b tasktree.Problem) int { return a.Pos.Compare(b.Pos) }) {
			t.Errorf("not sorted: %v", invalid.Problems)
		}
	})
}

// TestEncode checks the layout of a description.
func TestEncode(t *testing.T) {
	text := func(s string) tasktree.Text { return tasktree.Text{Value: s} }
	tree := &tasktree.Tree{
		Source: "made.yaml", Dir: "/srv",
		Namespaces: []tasktree.NamespaceItem{{Name: tasktree.NamespacePID}},
		Files: []*tasktree.OpenFile{
			{Name: "null", Spec: &kind.Reg{Path: text("/dev/null"), Flags: kind.Flags{Bits: unix.O_RDWR}}},
			{Name: "log", Spec: &kind.Reg{
				Path: text("a log"), Flags: kind.Flags{Bits: unix.O_WRONLY | unix.O_CREAT | unix.O_SYNC}, Mode: tasktree.Number{Value: 0o640}, Content: tasktree.Text{Set: true},
			}},
			{Name: "far", Spec: &kind.Reg{Path: text("x"), Offset: tasktree.Number{Value: 1 << 40}}},
			{Name: "jobs", Spec: &kind.Pipe{
				Capacity: tasktree.Number{Value: 8192}, Content: text("\xff\x00"), WriteEnd: kind.Flags{Bits: unix.O_NONBLOCK | unix.O_DIRECT},
			}},
			{Name: "console", Spec: &kind.Inherit{Key: text("stdout")}},
		},
		Root: &tasktree.Task{
			Name: "root", PID: tasktree.Number{Value: 1}, FDs: []tasktree.Descriptor{
				{FD: 0, File: text("null")}, {FD: 7, File: text("jobs.w"), Cloexec: true},
			},
			Children: []*tasktree.Task{
				{
					Name: "lister", FDs: []tasktree.Descriptor{{FD: 1, File: text("console")}, {FD: 3, File: text("far")}, {FD: 4, File: text("log")}, {FD: 5, File: text("jobs.r")}},
					Run: []tasktree.Text{text("ls"), text("-l"), text(""), text("null"), text("a\nb: #"), text("8080")},
					Env: []tasktree.EnvVar{{Name: "A", Value: "lost"}, {Name: "B b", Value: ""}, {Name: "A", Value: "kept"}}, EnvClear: true, Cwd: text("/tmp"),
				},
				{Name: "10", SharesFiles: text("root")},
			},
		},
	}
	number := func(n int64) tasktree.Number { return tasktree.Number{Value: n} }
	service := tasktree.Number{Set: true}
	tree.Scenario = &tasktree.Scenario{Caller: tasktree.Caller{
		NoFile: number(64), Open: number(40), InheritFD: []tasktree.CallerFD{{Key: text("log"), FD: number(0)}}, ServiceFD: service, Restores: number(2),
	}}
	for _, naive := range []bool{true, false} {
		for i, s := range tasktree.Strategies {
			tree.Scenario.Expect = append(tree.Scenario.Expect, tasktree.Expectation{Strategy: s, Naive: naive, Outcome: text(tasktree.Outcomes[i])})
		}
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	// Values that a program sets have no position, and flags no list of names.
	got := comesBack(t, tree,
		cmpopts.IgnoreTypes(tasktree.Pos{}), cmpopts.IgnoreFields(kind.Flags{}, "Items"), cmpopts.IgnoreFields(tasktree.Task{}, "Env"))
	const want = `version: 1
namespaces: [pid]
caller: {nofile: 64, open: 40, inherit_fd: {log: 0}, service_fd: 0, restores: 2}
expect:
  "naive fdstore": holds
  "naive service": breaks
  "naive inherit": refused
  fdstore: holds
  service: breaks
  inherit: refused
files:
  null: {type: reg, path: /dev/null, flags: [O_RDWR]}
  log: {type: reg, path: "a log", flags: [O_SYNC, O_WRONLY, O_CREAT], mode: 0640, content: ""}
  far: {type: reg, path: x, offset: 1099511627776}
  jobs: {type: pipe, capacity: 8192, content: !!binary "/wA=", flags: {w: [O_NONBLOCK, O_DIRECT]}}
  console: {type: inherit, key: stdout}
tasks:
  - name: root
    pid: 1
    fds: {0: null, 7: {file: jobs.w, cloexec: true}}
    children:
      - name: lister
        fds: {1: console, 3: far, 4: log, 5: jobs.r}
        run: [ls, -l, "", null, "a\nb: #", 8080]
        cwd: /tmp
        env: {"B b": "", A: kept}
        env_clear: true
      - name: 10
        shares: {files: root}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("description (-want +got):\n%s", diff)
	}
}

// TestEncodeRefuses checks the errors for trees that a description cannot express.
func TestEncodeRefuses(t *testing.T) {
	root := &tasktree.Task{Name: "a"}
	for want, tree := range map[string]*tasktree.Tree{
		`open file "f" has no type`:                {Root: root, Files: []*tasktree.OpenFile{{Name: "f"}}},
		`open file "f": flags: the bits 0x8000000`: {Root: root, Files: []*tasktree.OpenFile{{Name: "f", Spec: &kind.Reg{Flags: kind.Flags{Bits: 1<<27 | unix.O_RDWR}}}}},
		`open file "f": the type "odd" is unknown`: {Root: root, Files: []*tasktree.OpenFile{{Name: "f", Spec: &odd{}}}},
	} {
		err := Encode(new(strings.Builder), tree)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestEncodeGiven checks that a tree in which a descriptor of the caller's replaces an
// open file is refused, and not encoded without that.
func TestEncodeGiven(t *testing.T) {
	tree, err := Decode(strings.NewReader("version: 1\nfiles: {log: {type: reg, path: /x}}\ntasks: [{name: a, fds: {1: log}}]\n"), "tree.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	replaced, err := tree.Replace(map[string]int{"log": 5})
	if err != nil {
		t.Fatal(err)
	}
	if err := Encode(new(strings.Builder), replaced); err == nil || !strings.Contains(err.Error(), `open file "log" is a descriptor of the caller's`) {
		t.Errorf("got %v", err)
	}
	comesBack(t, tree)
}

// odd is a kind that is not registered.
type odd struct{ kind.Inherit }

func (*odd) Kind() string { return "odd" }

// TestExamplesComeBack encodes and decodes the examples.
func TestExamplesComeBack(t *testing.T) {
	paths, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range paths {
		tree, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		comesBack(t, tree)
	}
}

// TestKindsComeBack encodes and decodes the examples of kinds, and the forms that values
// of two forms have.
func TestKindsComeBack(t *testing.T) {
	const forms = `text: {type: memfd, content: "a\0b"}
pieces: {type: memfd, content: {9: x, 0: "", 5000: y}, owner: [7, 8], seals: [], size: 1MiB}
behind: {type: memfd, content: {5: x}, owner: 7, hugetlb: 2MiB, size: 2097152, name: "\n"}
empty: {type: memfd, content: "", atime: 1.5, mode: "0"}
far: {type: eventfd, counter: 18446744073709551614}
all: {type: signalfd, signals: [SIGRTMAX, SIGHUP]}
`
	examples := []string{forms}
	for _, name := range kind.Names() {
		k, _ := kind.Lookup(name)
		examples = append(examples, k.Example)
	}
	for _, text := range examples {
		var files strings.Builder
		for line := range strings.Lines(text) {
			files.WriteString("  " + line)
		}
		if text == "" {
			continue
		}
		tree, err := Decode(strings.NewReader("version: 1\nfiles:\n"+files.String()+"tasks: [{name: a}]\n"), "kinds.yaml", "")
		if err != nil {
			t.Fatal(err)
		}
		got := comesBack(t, tree)
		if text != forms {
			continue
		}
		const want = `  text: {type: memfd, content: "a\0b"}
  pieces: {type: memfd, size: 1048576, content: {9: x, 0: "", 5000: y}, seals: [], owner: [7, 8]}
  behind: {type: memfd, name: "\n", size: 2097152, content: {5: x}, hugetlb: 2097152, owner: 7}
  empty: {type: memfd, content: "", mode: 0, atime: 1.5}
  far: {type: eventfd, counter: 18446744073709551614}
  all: {type: signalfd, signals: [SIGRTMAX, SIGHUP]}
`
		if !strings.Contains(got, want) {
			t.Errorf("encoded as\n%s, want\n%s", got, want)
		}
	}
}
