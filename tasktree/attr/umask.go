package attr

import (
	"strconv"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Umask is the file mode creation mask of a task, see umask(2). It does not affect files
// that a restore makes: their modes are exact.
type Umask struct {
	Mask tasktree.Number // 0 to 0777
}

const highestMask = 0o777 // the kernel ignores other bits

func init() {
	tasktree.RegisterAttribute(tasktree.AttributeKind{
		Keys: []string{"umask"},
		New:  func() tasktree.Attribute { return &Umask{} },
	})
}

// Fields implements [schema.Fielder].
func (u *Umask) Fields(f schema.Fields) {
	f.Mode("umask", &u.Mask, schema.Help{
		Want: "an octal mask from 0 to 0777, such as 0022", Highest: highestMask,
		Doc: "mask of the modes of files that the task makes, 0 to 0777, octal as a `mode`: `0027`", Default: "the caller's",
	})
}

// Key implements [tasktree.Attribute].
func (*Umask) Key() string { return "umask" }

// Said implements [tasktree.Attribute].
func (u *Umask) Said() bool { return u.Mask.Said() }

// Check implements [tasktree.Attribute].
func (u *Umask) Check(_ *tasktree.Task, report func(tasktree.Problem)) {
	if u.Mask.Value&^highestMask != 0 {
		report(tasktree.Problem{Pos: u.Mask.Pos, Path: "umask", Msg: "a mask is at most 0777: the kernel ignores all other bits"})
	}
}

// Wire implements [tasktree.Attribute].
func (u *Umask) Wire(w recipe.Wirer) {
	w.At(u.Mask.Pos)
	w.Call(recipe.Place, recipe.Call{
		Name: "umask", Nr: unix.SYS_UMASK, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.Int(u.Mask.Value)},
	})
}

// Read implements [tasktree.ReadableAttribute]. /proc shows the mask since Linux 4.7.
func (u *Umask) Read(l tasktree.LiveTask) error {
	text, err := l.Status("Umask")
	if err != nil {
		return err
	}
	u.Mask.Value, err = strconv.ParseInt(text, 8, 32)
	u.Mask.Set = err == nil
	return err
}
