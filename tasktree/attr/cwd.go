package attr

import (
	"fmt"
	"strings"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// cwd is the current folder of a task, see chdir(2). Its data is a part of [tasktree.Task],
// because the lookup of programs starts there. The planner writes the call itself, after
// the folder was checked.
type cwd tasktree.Task

func init() {
	tasktree.RegisterAttribute(tasktree.AttributeKind{
		Keys: []string{"cwd"},
		Of:   func(t *tasktree.Task) tasktree.Attribute { return (*cwd)(t) },
	})
}

// Fields implements [schema.Fielder].
func (c *cwd) Fields(f schema.Fields) {
	f.Text("cwd", &c.Cwd, schema.Help{Want: "the path of a folder", Doc: "folder", Default: "the caller's"})
}

// Key implements [tasktree.Attribute].
func (*cwd) Key() string { return "cwd" }

// Said implements [tasktree.Attribute].
func (c *cwd) Said() bool { return c.Cwd.Said() }

// Check implements [tasktree.Attribute].
func (c *cwd) Check(_ *tasktree.Task, report func(tasktree.Problem)) {
	bad := func(format string, args ...any) {
		report(tasktree.Problem{Pos: c.Cwd.Pos, Path: "cwd", Msg: fmt.Sprintf(format, args...)})
	}
	if n := len(c.Cwd.Value); n > tasktree.MaxPath {
		bad("the path has %d bytes; the kernel takes at most %d", n, tasktree.MaxPath)
	} else if why := tasktree.AnotherProcess(c.Cwd.Value); why != "" {
		why, _, _ = strings.Cut(why, ";")
		bad("%q %s", c.Cwd.Value, why)
	}
	if strings.ContainsRune(c.Cwd.Value, 0) {
		bad("a NUL byte cannot be part of a path")
	}
}

// Wire implements [tasktree.Attribute].
func (*cwd) Wire(recipe.Wirer) {}
