// Package house_test checks the project's rules that the compiler does not check: which
// package may import which, where unsafe code is allowed, which package reads /proc, how
// large packages and types may grow, that every package has a comment, and that no code
// waits for a process that it did not start.
//
// It parses the source files for every system and build tag, so it also checks files that
// are not compiled on this machine.
package house_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// rooms lists which packages of this module a room may import. A room is a package with
// the packages below it, unless these have rooms of their own: a package belongs to the
// room with the longest name that its path starts with. It may import everything of its
// own room.
//
//	cmd ──▶ restore ──▶ tasktree ◀── tasktree/kind ◀── images ◀── cmd
//	           └──────▶ internal/service, fdstore ──▶ fdstore/wire
//	cmd, restore, internal/service ──▶ internal/proc
//	restore ──▶ plan ──▶ program, safepath       (restore/internal/...)
//	        ──▶ planner ──▶ assign ──▶ landing ──▶ table;  limits, lookup;  bench ──▶ assign
//	        ──▶ runner ──▶ prepare, report, trace
//
// Tests may import what they need, and so may the programs under test.
var rooms = map[string][]string{
	"cmd/fdhold": {"fdstore", "fdstore/activation", "fdstore/execfd"},               // the store for other languages
	"cmd":        {"restore", "images", "images/live", "tasktree", "internal/proc"}, // it passes the tree from images to restore
	"restore": {
		"restore/internal/plan", "restore/internal/runner", "restore/internal/report", "restore/internal/prepare", "restore/internal/plantest", "restore/internal/host", "restore/internal/memory", "restore/internal/planner", "restore/internal/show", "restore/internal/model", "restore/internal/table", "restore/internal/words", "restore/internal/program", "restore/internal/postfork",
		"restore/internal/safepath", "restore/internal/execcheck",
		"tasktree", "fdstore", "fdstore/wire", "internal/proc", "internal/service",
	},
	"restore/internal/words":    {"restore/internal/plan", "restore/internal/program", "restore/internal/safepath", "tasktree"},
	"restore/internal/table":    {"restore/internal/plan", "tasktree"},
	"restore/internal/landing":  {"restore/internal/plan", "restore/internal/table", "fdstore", "tasktree"},
	"restore/internal/model":    {"restore/internal/plan", "restore/internal/words", "restore/internal/table", "restore/internal/program", "fdstore", "fdstore/wire", "tasktree"},
	"restore/internal/show":     {"restore/internal/plan", "restore/internal/model", "restore/internal/words", "restore/internal/program", "tasktree"},
	"restore/internal/lookup":   {"restore/internal/plan", "tasktree", "tasktree/recipe"},
	"restore/internal/assign":   {"restore/internal/plan", "restore/internal/landing", "restore/internal/program", "fdstore", "tasktree", "tasktree/recipe"},
	"restore/internal/bench":    {"restore/internal/assign", "restore/internal/plan", "restore/internal/program", "tasktree", "tasktree/recipe"},
	"restore/internal/limits":   {"restore/internal/plan", "tasktree"},
	"restore/internal/planner":  {"restore/internal/assign", "restore/internal/bench", "restore/internal/limits", "restore/internal/lookup", "restore/internal/landing", "restore/internal/plan", "restore/internal/table", "restore/internal/program", "restore/internal/safepath", "fdstore", "fdstore/wire", "internal/service", "tasktree", "tasktree/recipe"},
	"restore/internal/memory":   {"internal/proc", "restore/internal/postfork", "restore/internal/program"},
	"restore/internal/expected": {"restore/internal/plan", "restore/internal/safepath", "tasktree"},
	"restore/internal/host":     {"restore/internal/assign", "restore/internal/expected", "restore/internal/plan", "restore/internal/planner", "restore/internal/words", "restore/internal/postfork", "restore/internal/program", "restore/internal/safepath", "restore/internal/execcheck", "fdstore/execfd", "internal/proc", "tasktree", "tasktree/recipe"},
	"restore/restoretest":       {"restore", "images", "internal/proc"},

	"restore/internal/plantest": {"restore/internal/plan", "tasktree", "tasktree/kind", "tasktree/recipe", "tasktree/schema"},
	"restore/internal/trace":    {"restore/internal/plan", "restore/internal/words", "restore/internal/postfork", "restore/internal/program", "tasktree"},
	"restore/internal/report":   {"restore/internal/plan", "internal/proc", "tasktree"},
	"restore/internal/prepare":  {"internal/proc", "restore/internal/expected", "restore/internal/plan", "restore/internal/words", "restore/internal/trace", "restore/internal/host", "restore/internal/memory", "restore/internal/postfork", "restore/internal/program", "restore/internal/safepath", "internal/service", "fdstore", "tasktree", "tasktree/recipe"},
	"restore/internal/runner":   {"restore/internal/plan", "restore/internal/prepare", "restore/internal/words", "restore/internal/report", "restore/internal/trace", "restore/internal/host", "restore/internal/memory", "restore/internal/postfork", "restore/internal/program", "restore/internal/safepath", "internal/proc", "fdstore", "tasktree", "tasktree/recipe"},
	"restore/internal/plan":     {"restore/internal/program", "restore/internal/safepath", "tasktree", "tasktree/recipe", "fdstore", "fdstore/wire"},

	"restore/internal/program":   {},
	"restore/internal/postfork":  {"restore/internal/program", "restore/internal/safepath", "tasktree/recipe"},
	"restore/internal/safepath":  {"internal/proc"},
	"restore/internal/execcheck": {},

	"images":          {"images/internal/syntax", "tasktree", "tasktree/kind", "tasktree/schema"},
	"tasktree":        {"tasktree/schema", "tasktree/recipe"},
	"tasktree/kind":   {"tasktree", "tasktree/schema", "tasktree/recipe"},
	"tasktree/recipe": {"tasktree/schema"},
	"images/live":     {"images", "tasktree", "tasktree/kind", "tasktree/schema", "internal/proc"},
	"tasktree/schema": {},
	"fdstore":         {"fdstore/wire", "fdstore/internal/borrow"},
	"fdstore/wire":    {},
	"internal/proc":   {},

	"fdstore/activation": {"fdstore/execfd", "fdstore/internal/borrow"},
	"fdstore/execfd":     {"fdstore/internal/borrow", "fdstore/internal/early"},

	"fdstore/internal/early": {},

	"fdstore/internal/borrow": {},

	"images/internal/syntax": {},

	"fdstore/handover": {"fdstore"},
	"examples":         {"fdstore", "fdstore/handover"},
	"internal/service": {"internal/proc"},
}

const testRoom = "test"

// yamlRoom is the only room that imports the YAML parser, beside the room below it for
// syntax errors, and a test that compares its cost with the parser's.
const yamlRoom = "images"

// rule returns the problems in files, each with its position.
type rule func(files []file) []string

var rules = map[string]rule{
	"direction": direction,
	"fence":     fence,
	"docs":      docs,
	"strangers": strangers,

	"importable": importable,
	"sizes":      sizes,
	"procReader": procReader,
	"methods":    methods,
}

// TestHouse applies the rules to this module.
func TestHouse(t *testing.T) {
	files := loadModule(t)
	if !slices.ContainsFunc(files, func(f file) bool { return f.path == "tasktree/doc.go" }) {
		t.Fatalf("read %d files, tasktree/doc.go is not among them: nothing was checked", len(files))
	}
	for name, check := range rules {
		t.Run(name, func(t *testing.T) {
			for _, problem := range check(files) {
				t.Error(problem)
			}
		})
	}
}

func loadModule(t *testing.T) []file {
	t.Helper()
	module := os.DirFS("../..")
	mod, err := fs.ReadFile(module, "go.mod")
	if err != nil || !strings.HasPrefix(string(mod), "module regrow\n") {
		t.Fatalf("../.. is not the module: %v", err)
	}
	files, err := load(module)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// file is one Go file of the module.
type file struct {
	path string // from the module's root, with slashes
	fset *token.FileSet
	ast  *ast.File
}

func (f *file) dir() string { return path.Dir(f.path) }

func (f *file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f *file) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.path, f.fset.Position(n.Pos()).Line, fmt.Sprintf(format, args...))
}

// imports returns each import of a file with its path.
func (f *file) imports(yield func(*ast.ImportSpec, string) bool) {
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil && !yield(spec, p) {
			return
		}
	}
}

// load parses every Go file of a module, sorted by path, except those in testdata, in
// folders that the go command ignores, and in nested modules.
func load(module fs.FS) (files []file, err error) {
	fset := token.NewFileSet()
	err = fs.WalkDir(module, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || p == ".":
			return err
		case d.IsDir():
			_, inner := fs.Stat(module, p+"/go.mod")
			if d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || inner == nil {
				return fs.SkipDir
			}
			return nil
		case path.Ext(p) != ".go":
			return nil
		}
		src, err := fs.ReadFile(module, p)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
		files = append(files, file{p, fset, tree})
		return err
	})
	return files, err
}

// roomOf returns the room of a package, "" if it has none.
func roomOf(dir string) string {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := rooms[dir]; ok || dir == testRoom {
			return dir
		}
	}
	return ""
}

// direction checks that imports point one way, and that only yamlRoom imports YAML.
func direction(files []file) (problems []string) {
	for _, f := range files {
		room := roomOf(f.dir())
		if room == "" {
			problems = append(problems, f.at(f.ast, "package %s has no room: add it to rooms with the packages that it may import", f.dir()))
			continue
		}
		for spec, p := range f.imports {
			if isYAML(p) && room != yamlRoom && room != yamlRoom+"/internal/syntax" && room != testRoom {
				problems = append(problems, f.at(spec, "only %s imports %s", yamlRoom, p))
			}
			ours, ok := strings.CutPrefix(p, "regrow/")
			if !ok || f.test() || room == testRoom {
				continue
			}
			if to := roomOf(ours); to != room && !slices.Contains(rooms[room], to) {
				problems = append(problems, f.at(spec, "%s must not import %s, only %v", room, ours, rooms[room]))
			}
		}
	}
	return problems
}

// isYAML reports whether a package is a version of the library.
func isYAML(p string) bool {
	return strings.HasPrefix(p, "gopkg.in/yaml.") || strings.HasPrefix(p, "go.yaml.in/yaml/")
}

// rawCall matches raw system calls.
var rawCall = regexp.MustCompile(`^(Raw)?(Vfork)?Syscall(6|9|NoError|n)?$`)

// fence checks that unsafe code and raw system calls are only in *_unsafe.go and
// *_unsafe_test.go.
func fence(files []file) (problems []string) {
	for _, f := range files {
		if strings.HasSuffix(f.path, "_unsafe.go") || strings.HasSuffix(f.path, "_unsafe_test.go") {
			continue
		}
		for spec, p := range f.imports {
			if p == "unsafe" || p == "C" {
				problems = append(problems, f.at(spec, "import %q belongs into a file named *_unsafe.go", p))
			}
		}
		for call := range f.calls {
			if rawCall.MatchString(call.name) && (call.pkg == "unix" || call.pkg == "syscall") {
				problems = append(problems, f.at(call.node, "%s.%s belongs into a file named *_unsafe.go", call.pkg, call.name))
			}
		}
	}
	return problems
}

// docs checks that every package has a comment, in doc.go if the package is a library. A
// folder that contains only tests needs none.
func docs(files []file) (problems []string) {
	type pkg struct{ first, doc *file }
	pkgs := map[string]*pkg{}
	for i := range files {
		f := &files[i]
		if f.test() {
			continue
		}
		p := pkgs[f.dir()]
		if p == nil {
			p = &pkg{first: f}
			pkgs[f.dir()] = p
		}
		if f.ast.Doc != nil && (path.Base(f.path) == "doc.go" || f.ast.Name.Name == "main") {
			p.doc = f
		}
	}
	for dir, p := range pkgs {
		name, want := p.first.ast.Name.Name, "Package "+p.first.ast.Name.Name+" "
		if name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		switch {
		case p.doc == nil && name == "main":
			problems = append(problems, p.first.at(p.first.ast, "no file of the command has a package comment"))
		case p.doc == nil:
			problems = append(problems, p.first.at(p.first.ast, "package %s has no doc.go with a package comment", name))
		case !strings.HasPrefix(p.doc.ast.Doc.Text(), want):
			problems = append(problems, p.doc.at(p.doc.ast, "the comment must start with %q", want))
		}
	}
	slices.Sort(problems)
	return problems
}

// strangers checks that no code waits for any child or signals all processes: the caller
// may have left children that this process did not start.
func strangers(files []file) (problems []string) {
	for _, f := range files {
		for call := range f.calls {
			if len(call.node.Args) == 0 || (call.pkg != "unix" && call.pkg != "syscall") {
				continue
			}
			first := text(call.node.Args[0])
			switch {
			case call.name == "Wait4" && first == "-1", call.name == "Waitid" && strings.HasSuffix(first, "P_ALL"):
				problems = append(problems, f.at(call.node, "waits for any child: wait for a pid or a pidfd"))
			case call.name == "Kill" && first == "-1":
				problems = append(problems, f.at(call.node, "signals every process: name one"))
			}
		}
	}
	return problems
}

// call is a call of a function by package and name. The package is identified by its name
// in the file, which is enough because this module does not rename imports.
type call struct {
	pkg, name string
	node      *ast.CallExpr
}

func (f *file) calls(yield func(call) bool) {
	for n := range ast.Preorder(f.ast) {
		c, ok := n.(*ast.CallExpr)
		if !ok {
			continue
		}
		if sel, ok := c.Fun.(*ast.SelectorExpr); ok && !yield(call{text(sel.X), sel.Sel.Name, c}) {
			return
		}
	}
}

// text returns a name, a selector or a number with its sign, and "" for anything else.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.BasicLit:
		return e.Value
	case *ast.SelectorExpr:
		return text(e.X) + "." + e.Sel.Name
	case *ast.UnaryExpr:
		return e.Op.String() + text(e.X)
	}
	return ""
}

// numbered repeats a line n times, with the numbers from 0.
func numbered(line string, n int) (all string) {
	for i := range n {
		all += fmt.Sprintf(line, i)
	}
	return all
}

// TestRules checks each rule with sources that it must refuse or accept.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name, rule, path, src string
		want                  []string
	}{
		{
			"model imports the runner", "direction", "tasktree/a.go", "package tasktree\n\nimport _ \"regrow/restore\"",
			[]string{"tasktree/a.go:3: tasktree must not import restore, only [tasktree/schema tasktree/recipe]"},
		},
		{
			"model imports its kinds", "direction", "tasktree/a.go", "package tasktree; import _ \"regrow/tasktree/kind\"",
			[]string{"tasktree/a.go:1: tasktree must not import tasktree/kind, only [tasktree/schema tasktree/recipe]"},
		},
		{"a room inside a room", "direction", "tasktree/kind/a.go", "package kind; import _ \"regrow/tasktree\"", nil},
		{
			"store imports what is to be compared with it", "direction", "fdstore/a.go", "package fdstore; import _ \"regrow/internal/service\"",
			[]string{"fdstore/a.go:1: fdstore must not import internal/service, only [fdstore/wire fdstore/internal/borrow]"},
		},
		{
			"deep inside a room", "direction", "internal/proc/x/a.go", "package x; import _ \"regrow/images\"",
			[]string{"internal/proc/x/a.go:1: internal/proc must not import images, only []"},
		},
		{"within a room", "direction", "restore/a.go", "package restore; import _ \"regrow/restore/internal/x\"", nil},
		{
			"under another system's name", "direction", "images/a_windows.go", "package images; import _ \"regrow/cmd/x\"",
			[]string{"images/a_windows.go:1: images must not import cmd/x, only [images/internal/syntax tasktree tasktree/kind tasktree/schema]"},
		},
		{"allowed", "direction", "images/a.go", "package images; import (_ \"regrow/tasktree/kind\"; _ \"gopkg.in/yaml.v3\")", nil},
		{
			"the store imports more than x/sys", "importable", "fdstore/wire/a.go", "package wire; import _ \"github.com/a/b\"; import _ \"regrow/tasktree\"",
			[]string{
				"fdstore/wire/a.go:1: fdstore and the packages below it may import only the standard library and golang.org/x/sys, not github.com/a/b",
				"fdstore/wire/a.go:1: fdstore and the packages below it may import only the standard library and golang.org/x/sys, not regrow/tasktree",
			},
		},
		{
			"the store on another system", "importable", "fdstore/a.go", "package fdstore; import _ \"golang.org/x/sys/unix\"",
			[]string{"fdstore/a.go:1: golang.org/x/sys/unix is for Linux: the file needs a build tag"},
		},
		{"the store on Linux", "importable", "fdstore/a.go", "//go:build linux\n\npackage fdstore; import _ \"golang.org/x/sys/unix\"; import _ \"os\"; import _ \"regrow/fdstore/wire\"", nil},
		{"the store on Linux, by name", "importable", "fdstore/a_linux.go", "package fdstore; import _ \"golang.org/x/sys/unix\"", nil},
		{"a test", "direction", "fdstore/a_test.go", "package fdstore_test; import _ \"regrow/restore\"", nil},
		{
			"yaml elsewhere", "direction", "restore/a_test.go", "package restore; import _ \"gopkg.in/yaml.v3\"",
			[]string{"restore/a_test.go:1: only images imports gopkg.in/yaml.v3"},
		},
		{
			"the other yaml elsewhere", "direction", "restore/a_test.go", "package restore; import _ \"go.yaml.in/yaml/v4\"",
			[]string{"restore/a_test.go:1: only images imports go.yaml.in/yaml/v4"},
		},
		{"the other yaml", "direction", "images/internal/syntax/a.go", "package syntax; import _ \"go.yaml.in/yaml/v4\"", nil},
		{
			"no room", "direction", "junk/a.go", "package junk",
			[]string{"junk/a.go:1: package junk has no room: add it to rooms with the packages that it may import"},
		},

		{
			"unsafe outside", "fence", "restore/a.go", "package restore\nimport \"unsafe\"",
			[]string{`restore/a.go:2: import "unsafe" belongs into a file named *_unsafe.go`},
		},
		{
			"cgo outside", "fence", "restore/a.go", "package restore\nimport \"C\"",
			[]string{`restore/a.go:2: import "C" belongs into a file named *_unsafe.go`},
		},
		{"unsafe inside", "fence", "restore/a_unsafe.go", "package restore; import \"unsafe\"", nil},
		{"unsafe test", "fence", "restore/a_unsafe_test.go", "package restore; import \"unsafe\"", nil},
		{
			"raw call", "fence", "restore/a.go", "package restore\nfunc f() {\n\tunix.RawSyscall6(0, 0, 0, 0, 0, 0, 0)\n}",
			[]string{"restore/a.go:3: unix.RawSyscall6 belongs into a file named *_unsafe.go"},
		},

		{
			"no doc.go", "docs", "images/a.go", "// Package images is documented elsewhere.\npackage images",
			[]string{"images/a.go:2: package images has no doc.go with a package comment"},
		},
		{
			"wrong words", "docs", "images/doc.go", "// This is images.\npackage images",
			[]string{`images/doc.go:2: the comment must start with "Package images "`},
		},
		{"a command", "docs", "cmd/x/main.go", "// Command x does it.\npackage main", nil},
		{
			"a command without a word", "docs", "cmd/x/main.go", "package main",
			[]string{"cmd/x/main.go:1: no file of the command has a package comment"},
		},

		{
			"a room that has grown", "sizes", "restore/internal/show/a.go", "package show" + strings.Repeat("\n", 2001),
			[]string{"restore/internal/show: 2001 lines, more than 2000: split it by what it holds"},
		},
		{
			"a large kind", "sizes", "tasktree/kind/a.go", "package kind" + strings.Repeat("\n", 401),
			[]string{"tasktree/kind/a.go:1: 401 lines, a kind has 400 at most"},
		},
		{
			"a type that holds too much", "methods", "restore/a.go", "package restore\ntype T[P any] struct{}\n" + numbered("func (t *T[P]) M%d() {}\n", 25) + "func (T[P]) A() {}\n",
			[]string{"restore.T: 26 methods, more than 25: split it by what it holds"},
		},
		{"a type that holds enough", "methods", "restore/a.go", "package restore\n" + numbered("func (T) M%d() {}\n", 25), nil},
		{"a method for each system", "methods", "restore/a.go", "package restore\n" + strings.Repeat("func (T) A() {}\n", 30), nil},
		{"a test's type", "methods", "restore/a_test.go", "package restore\n" + numbered("func (T) M%d() {}\n", 30), nil},
		{
			"an exception that grows", "methods", "fdstore/a.go", "package fdstore\n" + numbered("func (s *Store) M%d() {}\n", 90),
			[]string{"fdstore.Store: 90 methods, more than 75: split it by what it holds"},
		},
		{
			"an exception that is over", "methods", "fdstore/a.go", "package fdstore\nfunc (s *Store) A() {}\n",
			[]string{"fdstore.Store: 1 methods: it needs no exception in manyMethods any more"},
		},

		{
			"another reader of /proc", "procReader", "restore/a.go", "package restore\nvar a, b = os.Open(\"/proc/self/stat\")",
			[]string{`restore/a.go:2: "/proc/self/stat": internal/proc is the only package that reads /proc: give it a function for this`},
		},
		{
			"a listing of /proc", "procReader", "cmd/x/a.go", "package main\nvar a, b = os.ReadDir(`/proc`)",
			[]string{`cmd/x/a.go:2: "/proc": internal/proc is the only package that reads /proc: give it a function for this`},
		},
		{"words about /proc", "procReader", "restore/a.go", "package restore\nvar a = \"/proc is needed\"", nil},
		{"the reader of /proc", "procReader", "internal/proc/a.go", "package proc\nvar a = \"/proc/self\"", nil},
		{"the store reads /proc", "procReader", "fdstore/activation/a.go", "package activation\nvar a = \"/proc/self\"", nil},

		{"a large test", "sizes", "restore/internal/show/a_test.go", "package show" + strings.Repeat("\n", 9000), nil},

		{
			"any child", "strangers", "restore/a.go", "package restore\nvar _, _ = unix.Wait4(-1, nil, 0, nil)",
			[]string{"restore/a.go:2: waits for any child: wait for a pid or a pidfd"},
		},
		{
			"any child by waitid", "strangers", "restore/a.go", "package restore\nvar _ = unix.Waitid(unix.P_ALL, 0, nil, 0, nil)",
			[]string{"restore/a.go:2: waits for any child: wait for a pid or a pidfd"},
		},
		{
			"everybody", "strangers", "restore/a_test.go", "package restore\nvar _ = syscall.Kill(-1, 9)",
			[]string{"restore/a_test.go:2: signals every process: name one"},
		},
		{"a pid", "strangers", "restore/a.go", "package restore; var _, _ = unix.Wait4(pid, nil, 0, nil)", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, err := load(fstest.MapFS{
				c.path:               {Data: []byte(c.src)},
				"tools/go.mod":       {},
				"tools/bad.go":       {Data: []byte("package bad; import \"unsafe\"")},
				"restore/testdata/x": {},
				"testdata/bad.go":    {Data: []byte("not Go at all")},
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, rules[c.rule](files)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
