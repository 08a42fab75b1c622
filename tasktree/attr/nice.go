package attr

import (
	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Nice is the nice value of a task, see nice(2): -20 gets the largest share of the
// processor, 19 the smallest. A value below the caller's needs CAP_SYS_NICE, or an
// RLIMIT_NICE that allows it.
type Nice struct {
	Value tasktree.Number
}

func init() {
	tasktree.RegisterAttribute(tasktree.AttributeKind{
		Keys: []string{"nice"},
		New:  func() tasktree.Attribute { return &Nice{} },
	})
}

// Fields implements [schema.Fielder].
func (n *Nice) Fields(f schema.Fields) {
	f.Int("nice", &n.Value, schema.Int{Of: "a nice value", Lo: -20, Hi: 19, Help: schema.Help{
		Doc: "nice value, -20 to 19; below the caller's it needs CAP_SYS_NICE, or RLIMIT_NICE", Default: "the caller's",
	}})
}

// Key implements [tasktree.Attribute].
func (*Nice) Key() string { return "nice" }

// Said implements [tasktree.Attribute].
func (n *Nice) Said() bool { return n.Value.Said() }

// Check implements [tasktree.Attribute].
func (n *Nice) Check(_ *tasktree.Task, report func(tasktree.Problem)) {
	if n.Value.Value < -20 || n.Value.Value > 19 {
		report(tasktree.Problem{Pos: n.Value.Pos, Path: "nice", Msg: "a nice value is from -20 to 19"})
	}
}

// Host implements [tasktree.NeedyAttribute].
func (n *Nice) Host() []recipe.Need {
	return []recipe.Need{{What: recipe.NiceValue, N: n.Value.Value, Pos: n.Value.Pos}}
}

// Wire implements [tasktree.Attribute].
func (n *Nice) Wire(w recipe.Wirer) {
	w.At(n.Value.Pos)
	w.Call(recipe.Place, recipe.Call{
		Name: "setpriority", Nr: unix.SYS_SETPRIORITY, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.Int(unix.PRIO_PROCESS), recipe.Int(0), recipe.Int(n.Value.Value)},
		Hints: []recipe.Hint{
			{Errno: int(unix.EACCES), Text: "a nice value below the caller's needs CAP_SYS_NICE, or an RLIMIT_NICE of 20 - nice"},
			{Errno: int(unix.EPERM), Text: "a nice value below the caller's needs CAP_SYS_NICE"},
		},
	})
}

// Read implements [tasktree.ReadableAttribute].
func (n *Nice) Read(l tasktree.LiveTask) error {
	value, err := l.Nice()
	if err == nil {
		n.Value = tasktree.Number{Value: int64(value), Set: true}
	}
	return err
}
