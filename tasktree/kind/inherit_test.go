package kind_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

func TestInherit(t *testing.T) {
	testCheck(t, "inherit", []checkCase{
		{"stdin", values{"key": "stdin"}, nil},
		{"any key", values{"key": "db"}, nil},
		{"no key", values{"key": ""}, []string{"7:1: key: the key is empty; write stdin, stdout, stderr or a key of --inherit-fd"}},
	})
	testMake(t, "inherit", []makeCase{
		{"recipe", values{"key": "db"}, []any{keyPos("key"), caller{"db"}}, []recipe.Ref{firstRef}},
	})
	spec := decode(t, "inherit", values{"key": "db"})
	if key := tasktree.CallerKey(spec); key != "db" {
		t.Errorf("the caller's key is %q", key)
	}
	if spec.Ends() != nil {
		t.Errorf("ends %v", spec.Ends())
	}
	if diff := cmp.Diff(tasktree.Traits{ByRunner: true}, spec.Traits(&tasktree.Tree{})); diff != "" {
		t.Errorf("traits (-want +got):\n%s", diff)
	}
}
