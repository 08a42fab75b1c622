package attr

import (
	"fmt"
	"strings"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// env is the environment of a task. Its data is a part of [tasktree.Task], because the
// lookup of programs uses PATH. The program gets it by execve(2).
type env tasktree.Task

func init() {
	tasktree.RegisterAttribute(tasktree.AttributeKind{
		Keys: []string{"env", "env_clear"},
		Of:   func(t *tasktree.Task) tasktree.Attribute { return (*env)(t) },
	})
}

// Fields implements [schema.Fielder].
func (e *env) Fields(f schema.Fields) {
	f.Map("env", (*variables)(&e.Env), schema.Help{
		Want: "a mapping from names of variables to values, such as {LANG: C}",
		Doc: "mapping; added to the caller's environment. The caller's `LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES` and `LISTEN_PIDFDID` " +
			"([sd_listen_fds(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html)) describe regrow's descriptors and never reach the tree; " +
			"a task that has the sockets sets its own here",
		Moves: true,
	})
	envClear := schema.Bool{Value: e.EnvClear}
	f.Bool("env_clear", &envClear, schema.Help{Compare: schema.Ignore, Doc: "`true`: start from an empty environment", Default: "`false`"})
	if envClear.Pos.IsValid() {
		e.EnvClear = envClear.Value
	}
}

// Key implements [tasktree.Attribute].
func (*env) Key() string { return "env" }

// Said implements [tasktree.Attribute].
func (e *env) Said() bool { return len(e.Env) > 0 || e.EnvClear }

// Check implements [tasktree.Attribute].
func (e *env) Check(_ *tasktree.Task, report func(tasktree.Problem)) {
	for _, v := range e.Env {
		switch {
		case v.Name == "" || strings.ContainsAny(v.Name, "=\x00"):
			report(tasktree.Problem{Pos: v.Pos, Path: "env", Msg: fmt.Sprintf("%q is not a variable name: a name is not empty and contains neither = nor a NUL byte", v.Name)})
		case strings.ContainsRune(v.Value, 0):
			report(tasktree.Problem{Pos: v.Pos, Path: "env." + v.Name, Msg: "a variable cannot contain a NUL byte"})
		}
	}
}

// Wire implements [tasktree.Attribute].
func (*env) Wire(recipe.Wirer) {}

// variables is the list of an environment's variables.
type variables []tasktree.EnvVar

func (e *variables) Len() int         { return len(*e) }
func (e *variables) Key(i int) string { return (*e)[i].Name }
func (*variables) Keys() string       { return "" }
func (e *variables) Drop()            { *e = (*e)[:len(*e)-1] }

func (e *variables) Add(name schema.Text, _ func(string, ...any)) bool {
	*e = append(*e, tasktree.EnvVar{Name: name.Value, Pos: name.Pos})
	return true
}

func (e *variables) Item(i int, f schema.Fields) {
	x := &(*e)[i]
	v := schema.Text{Value: x.Value, Pos: x.Pos, Set: true}
	f.Arg("", &v, schema.Help{Want: "a variable's value", Moves: true})
	if v.Value != x.Value {
		x.Value = v.Value
	}
}
