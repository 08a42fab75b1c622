package house_test

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
)

// largest is how many lines a room below restore may have, without tests. A larger room
// must be split.
var largest = map[string]int{
	"restore/internal/runner":  1750,
	"restore/internal/planner": 2450,
	"restore/internal":         2000, // each other room
	"restore":                  440,  // the API
}

const largestKind = 400

// sizes checks the sizes of rooms and of files of kinds.
func sizes(files []file) (problems []string) {
	lines := map[string]int{}
	for _, f := range files {
		if f.test() {
			continue
		}
		n := f.fset.Position(f.ast.FileEnd).Line
		lines[f.dir()] += n
		if f.dir() == "tasktree/kind" && n > largestKind {
			problems = append(problems, f.at(f.ast, "%d lines, a kind has %d at most", n, largestKind))
		}
	}
	for dir, n := range lines {
		most, own := largest[dir]
		if !own && path.Dir(dir) == "restore/internal" {
			most = largest["restore/internal"]
		}
		if most > 0 && n > most {
			problems = append(problems, fmt.Sprintf("%s: %d lines, more than %d: split it by what it holds", dir, n, most))
		}
	}
	return problems
}

// mostMethods is how many methods a type may have: a type with more has several
// responsibilities. Methods of embedded types do not count, and a method that exists once
// for each system counts once.
const mostMethods = 25

// manyMethods has the types that may have more methods, with their limits. It should become
// empty.
var manyMethods = map[string]int{
	"fdstore.Store": 75,
}

// methods checks how many methods each type has, without tests.
func methods(files []file) (problems []string) {
	type names map[string]bool
	all := map[string]names{} // a name may be declared once for each system
	for _, f := range files {
		for _, d := range f.ast.Decls {
			d, ok := d.(*ast.FuncDecl)
			if !ok || d.Recv == nil || f.test() {
				continue
			}
			of := f.dir() + "." + receiver(d.Recv.List[0].Type)
			if all[of] == nil {
				all[of] = names{}
			}
			all[of][d.Name.Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		n, most := len(all[name]), mostMethods
		if more, ok := manyMethods[name]; ok && n > mostMethods {
			most = more
		} else if ok {
			problems = append(problems, fmt.Sprintf("%s: %d methods: it needs no exception in manyMethods any more", name, n))
		}
		if n > most {
			problems = append(problems, fmt.Sprintf("%s: %d methods, more than %d: split it by what it holds", name, n, most))
		}
	}
	return problems
}

// receiver returns the name of a method's type, without its star and parameters.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.ParenExpr:
		return receiver(e.X)
	}
	return text(e)
}
