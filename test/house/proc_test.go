package house_test

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// procRoom is the only package that reads /proc. namesProc lists other files and rooms that
// contain paths of /proc, because they do not read them or may not import procRoom.
const procRoom = "internal/proc"

var namesProc = map[string]string{
	"fdstore":                              "a library of its own, which imports nothing of regrow",
	"restore/internal/program/layout.go":   "tasks reopen their descriptors without a Go runtime",
	"restore/internal/program/table.go":    "names of ops",
	"restore/internal/assign/namespace.go": "the root task, or a bench, writes its own maps of users: data of the plan",
	"test":                                 "programs under test, and tests that inspect them",
}

// procReader checks that no other package has the path of a file of /proc in a string.
func procReader(files []file) (problems []string) {
	for _, f := range files {
		if f.test() || f.dir() == procRoom || slices.ContainsFunc(slices.Collect(maps.Keys(namesProc)), func(name string) bool {
			return f.path == name || strings.HasPrefix(f.path, name+"/")
		}) {
			continue
		}
		for n := range ast.Preorder(f.ast) {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				continue
			}
			if s, err := strconv.Unquote(lit.Value); err == nil && (s == "/proc" || strings.HasPrefix(s, "/proc/")) {
				problems = append(problems, f.at(lit, "%q: %s is the only package that reads /proc: give it a function for this", s, procRoom))
			}
		}
	}
	return problems
}
