package plantest

import (
	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Vault is a kind of open file for tests: a file in memory of usual pages that is written
// by way of a mapping, as files of huge pages are, which a host may lack.
type Vault struct {
	Text tasktree.Text
}

var _ interface {
	tasktree.Spec
	tasktree.Filled
} = (*Vault)(nil)

// Fields implements [schema.Fielder].
func (v *Vault) Fields(f schema.Fields) { f.Text("text", &v.Text, schema.Help{Required: true}) }

// Kind implements [tasktree.Spec].
func (*Vault) Kind() string { return "vault" }

// Ends implements [tasktree.Spec].
func (*Vault) Ends() []string { return nil }

// Check implements [tasktree.Spec].
func (*Vault) Check(*tasktree.Tree, func(tasktree.Problem)) {}

// Traits implements [tasktree.Spec].
func (*Vault) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{ByRunner: true} }

// Make implements [tasktree.Spec].
func (*Vault) Make(_ *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	return []recipe.Ref{m.FD(recipe.Call{
		Name: "memfd_create", Nr: unix.SYS_MEMFD_CREATE, Args: []recipe.Arg{recipe.Data([]byte("vault\x00")), recipe.Int(unix.MFD_CLOEXEC)},
	})}
}

// Fill implements [tasktree.Filled].
func (v *Vault) Fill(_ *tasktree.Tree, m recipe.Maker) {
	m.At(v.Text.Pos)
	page := int64(unix.Getpagesize())
	m.Call(recipe.Call{Name: "ftruncate", Nr: unix.SYS_FTRUNCATE, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.FD(m.Own(0)), recipe.Int(2 * page)}})
	m.Mapped(recipe.Mapped{To: m.Own(0), Offset: page, Data: []byte(v.Text.Value), Page: page})
}
