package tasktree_test

import (
	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// fake is a kind of open file with the ends, problems and warnings of a test case.
type fake struct {
	kind               string
	ends               []string
	problems, warnings []tasktree.Problem
}

var (
	plain  = fake{kind: "reg"}
	twoEnd = fake{kind: "pipe", ends: []string{"r", "w"}}
)

func (fake) Fields(schema.Fields)                           {}
func (f fake) Kind() string                                 { return f.kind }
func (f fake) Ends() []string                               { return f.ends }
func (fake) Traits(*tasktree.Tree) tasktree.Traits          { return tasktree.Traits{} }
func (fake) Make(*tasktree.Tree, recipe.Maker) []recipe.Ref { return nil }

func (f fake) Check(_ *tasktree.Tree, report func(tasktree.Problem)) { each(f.problems, report) }
func (f fake) Warn(_ *tasktree.Tree, report func(tasktree.Problem))  { each(f.warnings, report) }

func each(ps []tasktree.Problem, report func(tasktree.Problem)) {
	for _, p := range ps {
		report(p)
	}
}

// Each key has a column of its own, so that a message shows whose position it has.
const (
	entryCol = 1
	pidCol   = 20
	fileCol  = 30
	runCol   = 40
	envCol   = 50
	cwdCol   = 60
)

func at(line, col int) tasktree.Pos { return tasktree.Pos{Line: line, Col: col} }

func text(line, col int, s string) tasktree.Text {
	return tasktree.Text{Value: s, Pos: at(line, col)}
}

func file(line int, name string, spec tasktree.Spec) *tasktree.OpenFile {
	return &tasktree.OpenFile{Name: name, Pos: at(line, entryCol), Spec: spec}
}

func fd(line, n int, file string) tasktree.Descriptor {
	return tasktree.Descriptor{FD: n, File: text(line, fileCol, file), Pos: at(line, entryCol)}
}

// task returns a task with a line, a name and, in any order, descriptors, children and
// changes.
func task(line int, name string, parts ...any) *tasktree.Task {
	t := &tasktree.Task{Name: name, Pos: at(line, entryCol)}
	for _, part := range parts {
		switch p := part.(type) {
		case tasktree.Descriptor:
			t.FDs = append(t.FDs, p)
		case *tasktree.Task:
			t.Children = append(t.Children, p)
		case func(*tasktree.Task):
			p(t)
		default:
			panic("not a part of a task")
		}
	}
	return t
}

func pid(line int, n int64) func(*tasktree.Task) {
	return func(t *tasktree.Task) { t.PID = tasktree.Number{Value: n, Pos: at(line, pidCol)} }
}

func run(line int, args ...string) func(*tasktree.Task) {
	return func(t *tasktree.Task) {
		t.RunPos, t.Run = at(line, runCol), []tasktree.Text{}
		for i, arg := range args {
			t.Run = append(t.Run, text(line, runCol+1+i, arg))
		}
	}
}

func env(line int, name, value string) func(*tasktree.Task) {
	return func(t *tasktree.Task) {
		t.Env = append(t.Env, tasktree.EnvVar{Name: name, Value: value, Pos: at(line, envCol)})
	}
}

func inPIDNamespace(tree *tasktree.Tree) *tasktree.Tree {
	tree.Namespaces = []tasktree.NamespaceItem{{Name: tasktree.NamespacePID, Pos: at(1, entryCol)}}
	return tree
}

func tree(root *tasktree.Task, files ...*tasktree.OpenFile) *tasktree.Tree {
	return &tasktree.Tree{Source: "tree.yaml", Root: root, Files: files}
}

func lines(ps []tasktree.Problem) []string {
	var ls []string
	for _, p := range ps {
		ls = append(ls, p.String())
	}
	return ls
}
