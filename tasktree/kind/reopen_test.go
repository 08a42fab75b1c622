package kind_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
)

// reopenTree is a checked tree whose last entry is opened again.
func reopenTree(t *testing.T, base tasktree.Spec, said values) (*tasktree.Tree, *kind.Reopen, []string) {
	t.Helper()
	spec := decode(t, "reopen", said).(*kind.Reopen)
	tree := &tasktree.Tree{Files: []*tasktree.OpenFile{{Name: "again", Spec: spec}, {Name: "base", Spec: base}}, Root: &tasktree.Task{Name: "root"}}
	var problems []string
	for _, p := range tree.Check() {
		problems = append(problems, p.String())
	}
	return tree, spec, problems
}

func TestReopenMake(t *testing.T) {
	lseek := recipe.Call{
		Name: "lseek", Nr: unix.SYS_LSEEK, Effect: recipe.Nothing, Want: 3, HasWant: true,
		Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: firstRef}, {Int: 3}, {Int: unix.SEEK_SET}},
	}
	for _, c := range []struct {
		name string
		base tasktree.Spec
		said values
		want []any
	}{
		{"plain", &kind.Memfd{}, values{"file": "base"}, []any{keyPos("file"), recipe.Reopen{Of: usedRef}}},
		{
			"flags and offset", &kind.Memfd{},
			values{"file": "base", "flags": []string{"O_RDWR", "O_APPEND", "O_NONBLOCK", "O_DIRECT"}, "offset": 3},
			[]any{keyPos("file"), recipe.Reopen{Of: usedRef, Flags: unix.O_RDWR | unix.O_APPEND | unix.O_NONBLOCK | unix.O_DIRECT}, keyPos("offset"), lseek},
		},
		{
			"a pipe, by its second end", &kind.Pipe{},
			values{"file": "base.w", "flags": []string{"O_RDWR", "O_DIRECT", "O_ASYNC", "O_NONBLOCK"}},
			[]any{
				keyPos("file"),
				recipe.Reopen{Of: usedRef + 1, Flags: unix.O_RDWR | unix.O_NONBLOCK},
				keyPos("flags"), setFlagsCall(firstRef, unix.O_DIRECT|unix.O_ASYNC|unix.O_NONBLOCK),
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, spec, problems := reopenTree(t, c.base, c.said)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			m := &recorder{}
			m.phases(spec, tree)
			if diff := cmp.Diff(c.want, m.steps, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Hints" || p.Last().String() == ".Short" }, cmp.Ignore())); diff != "" {
				t.Errorf("recipe (-want +got):\n%s", diff)
			}
			if traits := spec.Traits(tree); !traits.ByRunner || traits.Writes != (spec.Flags.Bits&unix.O_ACCMODE != unix.O_RDONLY) {
				t.Errorf("traits %+v", traits)
			}
			if needs := spec.Needs(); len(needs) != 1 || needs[0] != "base" {
				t.Errorf("it needs %v", needs)
			}
		})
	}
}

// TestReopenOf holds which kinds have open files that can be opened again.
func TestReopenOf(t *testing.T) {
	can := map[string]bool{"memfd": true, "pipe": true, "reg": true}
	for _, name := range kind.Names() {
		k, _ := kind.Lookup(name)
		file := "base"
		if ends := k.New().Ends(); len(ends) > 0 {
			file += "." + ends[0]
		}
		base := k.New()
		switch spec := base.(type) {
		case *kind.Reg:
			spec.Path.Value = "/x"
		case *kind.Inherit:
			spec.Key.Value = "stdin"
		case *kind.Reopen:
			spec.File.Value = "base"
		}
		if _, _, problems := reopenTree(t, base, values{"file": file}); can[name] != (len(problems) == 0) {
			t.Errorf("%s: %q", name, problems)
		}
	}
}

// TestReadReopen holds what is said of a live one.
func TestReadReopen(t *testing.T) {
	var r kind.Reopen
	unseen := r.Read(fakeLive{ends: []kind.LiveEnd{fakeEnd{link: "/memfd:x (deleted)", flags: unix.O_RDWR | unix.O_NONBLOCK | 0o100000, offset: 7}}})
	if len(unseen) > 0 || r.Flags.Bits != unix.O_RDWR|unix.O_NONBLOCK || r.Offset.Value != 7 {
		t.Errorf("%+v, unseen %v", r, unseen)
	}
}
