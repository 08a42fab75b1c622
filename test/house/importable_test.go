package house_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/printer"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// importable checks that the packages for other modules, fdstore and those below it, import
// only the standard library and x/sys, and x/sys/unix only in files for Linux.
func importable(files []file) (problems []string) {
	for _, f := range files {
		if f.test() || !within(f.dir(), importableRoot) {
			continue
		}
		for spec, p := range f.imports {
			first, _, _ := strings.Cut(p, "/")
			switch {
			case within(p, "golang.org/x/sys"):
				if strings.HasSuffix(p, "/unix") && f.builtFor("darwin") {
					problems = append(problems, f.at(spec, "%s is for Linux: the file needs a build tag", p))
				}
			case within(p, "regrow/"+importableRoot):
			case strings.Contains(first, "."), first == "regrow":
				problems = append(problems, f.at(spec, "%s and the packages below it may import only the standard library and golang.org/x/sys, not %s", importableRoot, p))
			}
		}
	}
	return problems
}

const importableRoot = "fdstore"

func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

// builtFor reports whether a file is compiled for a system, by its name and its build tag.
// All other tags count as not set.
func (f *file) builtFor(system string) bool {
	name := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.path), ".go"), "_test")
	for part := range strings.SplitSeq(name, "_") {
		if slices.Contains([]string{"linux", "darwin", "windows"}, part) && part != system {
			return false
		}
	}
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if c.Pos() > f.ast.Package || !constraint.IsGoBuild(c.Text) {
				continue
			}
			expr, err := constraint.Parse(c.Text)
			if err == nil && !expr.Eval(func(tag string) bool { return tag == system || tag == "unix" && system != "windows" }) {
				return false
			}
		}
	}
	return true
}

// TestSameNamesEverywhere checks that these packages export the same names on all systems,
// so that a program that compiles on Linux compiles elsewhere, too.
func TestSameNamesEverywhere(t *testing.T) {
	files := loadModule(t)
	for _, system := range []string{"darwin", "windows"} {
		want, got := exported(files, "linux"), exported(files, system)
		if len(want) == 0 {
			t.Fatal("nothing is exported")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("on %s (-linux +%s):\n%s", system, system, diff)
		}
	}
}

// exported lists the exported functions, methods, types, constants and variables of
// the packages, as they are built for a system.
func exported(files []file, system string) (names []string) {
	for i := range files {
		f := &files[i]
		if f.test() || !within(f.dir(), importableRoot) || !f.builtFor(system) {
			continue
		}
		for _, decl := range f.ast.Decls {
			names = append(names, exportedBy(f, decl)...)
		}
	}
	slices.Sort(names)
	return names
}

func exportedBy(f *file, decl ast.Decl) (names []string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(strings.TrimPrefix(printed(f.fset, d.Recv.List[0].Type), "*"))) {
			names = append(names, f.dir()+": "+signature(f.fset, d))
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					names = append(names, f.dir()+": type "+s.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() {
						names = append(names, fmt.Sprintf("%s: %s %s", f.dir(), d.Tok, n.Name))
					}
				}
			}
		}
	}
	return names
}

// signature writes a function with the types of its parameters, without their names.
func signature(fset *token.FileSet, d *ast.FuncDecl) string {
	text := "func "
	if d.Recv != nil {
		text += "(" + printed(fset, d.Recv.List[0].Type) + ") "
	}
	return text + d.Name.Name + "(" + fieldTypes(fset, d.Type.Params) + ") (" + fieldTypes(fset, d.Type.Results) + ")"
}

func fieldTypes(fset *token.FileSet, fields *ast.FieldList) string {
	if fields == nil {
		return ""
	}
	var types []string
	for _, f := range fields.List {
		for range max(1, len(f.Names)) {
			types = append(types, printed(fset, f.Type))
		}
	}
	return strings.Join(types, ", ")
}

func printed(fset *token.FileSet, n ast.Node) string {
	var b bytes.Buffer
	_ = printer.Fprint(&b, fset, n) // into memory
	return b.String()
}
