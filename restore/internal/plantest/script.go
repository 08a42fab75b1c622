package plantest

import (
	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Script is a kind of open file whose recipe a test writes.
type Script struct {
	OnMake  func(m recipe.Maker) []recipe.Ref
	OnShape func(m recipe.Maker) // nil: nothing
	After   []string             // the open files that must be made before
}

var _ interface {
	tasktree.Spec
	tasktree.Shaped
	tasktree.Ordered
} = (*Script)(nil)

// Fields implements [schema.Fielder].
func (*Script) Fields(schema.Fields) {}

// Kind implements [tasktree.Spec].
func (*Script) Kind() string { return "script" }

// Ends implements [tasktree.Spec].
func (*Script) Ends() []string { return nil }

// Check implements [tasktree.Spec].
func (*Script) Check(*tasktree.Tree, func(tasktree.Problem)) {}

// Traits implements [tasktree.Spec].
func (*Script) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{ByRunner: true} }

// Needs implements [tasktree.Ordered].
func (s *Script) Needs() []string { return s.After }

// Make implements [tasktree.Spec].
func (s *Script) Make(_ *tasktree.Tree, m recipe.Maker) []recipe.Ref { return s.OnMake(m) }

// Shape implements [tasktree.Shaped].
func (s *Script) Shape(_ *tasktree.Tree, m recipe.Maker) {
	if s.OnShape != nil {
		s.OnShape(m)
	}
}
