package house_test

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// procRoom is the one reader of /proc. The others that name paths there, by file or
// room, do not read by them, or may not import it.
const procRoom = "internal/proc"

var namesProc = map[string]string{
	"fdstore":                               "a library of its own, which imports nothing of regrow",
	"restore/internal/program/layout.go":    "tasks open their descriptors anew, where no Go runs",
	"restore/internal/program/table.go":     "words for what they do",
	"restore/internal/planner/namespace.go": "the root task writes its own maps of users: data of the plan",
	"test":                                  "programs under test, and what looks at them from outside",
}

// procReader holds that nobody else has the path of a file of /proc in a string.
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
				problems = append(problems, f.at(lit, "%q: %s reads /proc, and nobody else: give it a function for this", s, procRoom))
			}
		}
	}
	return problems
}
