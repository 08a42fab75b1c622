package kind

import (
	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Inherit is a descriptor of the caller's: the tree shares its open file
// description with the process that started the restore.
type Inherit struct {
	// Key is "stdin", "stdout", "stderr" or a key of --inherit-fd.
	Key tasktree.Text

	Expect // of the descriptor
}

func init() {
	register(Kind{
		Name: "inherit",
		Also: []string{"fd", "stdin", "stdout", "stderr", "std", "stdio", "tty"},
		New:  func() tasktree.Spec { return &Inherit{} },
		Doc: "A descriptor of the caller's: the tree shares its open file with whoever started the restore. " +
			"It is not looked into, but for what `expect` says.",
	})
}

// Fields implements [schema.Fielder].
func (i *Inherit) Fields(f schema.Fields) {
	f.Text("key", &i.Key, schema.Help{
		Required: true, Compare: schema.Ignore, Doc: "`stdin`, `stdout`, `stderr`, or a key given by `--inherit-fd KEY=N`",
	})
	i.expectFields(f, true)
}

// Kind implements [tasktree.Spec].
func (*Inherit) Kind() string { return "inherit" }

// Ends implements [tasktree.Spec].
func (*Inherit) Ends() []string { return nil }

// Check implements [tasktree.Spec]. Which keys there are is known only when the
// tree is planned.
func (i *Inherit) Check(_ *tasktree.Tree, report func(tasktree.Problem)) {
	if i.Key.Value == "" {
		report(tasktree.Problem{Pos: i.Key.Pos, Path: "key", Msg: "the key is empty; write stdin, stdout, stderr or a key of --inherit-fd"})
	}
	i.checkExpect(false, report)
}

// Traits implements [tasktree.Spec].
func (i *Inherit) Traits(*tasktree.Tree) tasktree.Traits {
	return tasktree.Traits{ByRunner: true}
}

// CallerKey implements [tasktree.Taken].
func (i *Inherit) CallerKey() string { return i.Key.Value }

// Make implements [tasktree.Spec].
func (i *Inherit) Make(_ *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	m.At(i.Key.Pos)
	return []recipe.Ref{m.Caller(i.Key.Value)}
}
