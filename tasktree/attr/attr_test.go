package attr_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/attr"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// TestRegistry checks the rules that apply to all attributes.
func TestRegistry(t *testing.T) {
	var keys []string
	for _, k := range tasktree.AttributeKinds() {
		a := tasktree.Attribute(nil)
		if k.Of != nil {
			a = k.Of(&tasktree.Task{})
		} else {
			a = k.New()
		}
		keys = append(keys, a.Key())
		if a.Key() != k.Keys[0] || a.Said() || len(schema.Said(a)) > 0 {
			t.Errorf("%v: an empty one has the name %q and says %v", k.Keys, a.Key(), schema.Said(a))
		}
		if diff := cmp.Diff(k.Keys, schema.Keys(a)); diff != "" {
			t.Errorf("registered (-) and bound keys (+):\n%s", diff)
		}
		for _, row := range schema.Rows(a) {
			if row.Doc == "" {
				t.Errorf("the key %q has no text for the reference page", row.Key)
			}
		}
	}
	if diff := cmp.Diff([]string{"cwd", "env", "nice", "umask"}, keys); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func number(n int64) tasktree.Number {
	return tasktree.Number{Value: n, Pos: tasktree.Pos{Line: 3, Col: 7}}
}

// TestCheck checks the rules of the attributes with data of their own.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		attr tasktree.Attribute
		want []string
	}{
		{"a mask", &attr.Umask{Mask: number(0o777)}, nil},
		{"no mask at all", &attr.Umask{Mask: number(0)}, nil},
		{"more than a mask", &attr.Umask{Mask: number(0o1000)}, []string{"3:7: umask: a mask is at most 0777: the kernel ignores all other bits"}},
		{"lowest", &attr.Nice{Value: number(-20)}, nil},
		{"highest", &attr.Nice{Value: number(19)}, nil},
		{"too low", &attr.Nice{Value: number(-21)}, []string{"3:7: nice: a nice value is from -20 to 19"}},
		{"too high", &attr.Nice{Value: number(20)}, []string{"3:7: nice: a nice value is from -20 to 19"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			c.attr.Check(&tasktree.Task{}, func(p tasktree.Problem) { got = append(got, p.String()) })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// noting is a Wirer that records the calls, by stage.
type noting struct {
	recipe.Wirer // nil: these attributes need no other methods

	at    []tasktree.Pos
	stage []recipe.Stage
	calls []recipe.Call
}

func (n *noting) At(pos tasktree.Pos) { n.at = append(n.at, pos) }

func (n *noting) Call(s recipe.Stage, c recipe.Call) {
	n.stage, n.calls = append(n.stage, s), append(n.calls, c)
}

// TestWire checks the calls and their stage: after the children are forked, so that they
// do not inherit the value, and before the task loses rights.
func TestWire(t *testing.T) {
	for _, c := range []struct {
		attr tasktree.Attribute
		nr   uintptr
		args []recipe.Arg
	}{
		{&attr.Umask{Mask: number(0o27)}, unix.SYS_UMASK, []recipe.Arg{recipe.Int(0o27)}},
		{&attr.Nice{Value: number(-3)}, unix.SYS_SETPRIORITY, []recipe.Arg{recipe.Int(unix.PRIO_PROCESS), recipe.Int(0), recipe.Int(-3)}},
	} {
		n := &noting{}
		c.attr.Wire(n)
		if len(n.calls) != 1 || n.stage[0] != recipe.Place || len(n.at) != 1 || !n.at[0].IsValid() {
			t.Fatalf("%s: %+v", c.attr.Key(), n)
		}
		got := n.calls[0]
		if diff := cmp.Diff(c.args, got.Args); got.Nr != c.nr || got.Effect != recipe.Nothing || diff != "" {
			t.Errorf("%s: call %d with effect %d, arguments (-want +got):\n%s", c.attr.Key(), got.Nr, got.Effect, diff)
		}
	}
	if needs := (&attr.Nice{Value: number(5)}).Host(); !slices.Equal(needs, []recipe.Need{{What: recipe.NiceValue, N: 5, Pos: number(0).Pos}}) {
		t.Errorf("needs %+v", needs)
	}
}

// live is a task with a mask and a nice value.
type live struct{ err error }

func (l live) Status(string) (string, error) { return "0027", l.err }
func (l live) Nice() (int, error)            { return -3, l.err }

// TestRead checks that values of a live task are set, and that an error sets none.
func TestRead(t *testing.T) {
	umask, nice := &attr.Umask{}, &attr.Nice{}
	for _, r := range []tasktree.ReadableAttribute{umask, nice} {
		if err := r.Read(live{}); err != nil {
			t.Fatal(err)
		}
	}
	if umask.Mask.Value != 0o27 || !umask.Said() || nice.Value.Value != -3 || !nice.Said() {
		t.Errorf("read %+v and %+v", umask, nice)
	}
	broken := errors.New("no")
	for _, r := range []tasktree.ReadableAttribute{&attr.Umask{}, &attr.Nice{}} {
		if err := r.Read(live{broken}); !errors.Is(err, broken) || r.(tasktree.Attribute).Said() {
			t.Errorf("%T: %v", r, err)
		}
	}
}
