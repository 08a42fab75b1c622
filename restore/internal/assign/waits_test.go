package assign_test

import (
	"slices"
	"strings"
	"testing"

	"regrow/restore/internal/assign"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// family has a root with the children a and b, and c below a. b has the table of a.
func family(t *testing.T) *plan.Plan {
	t.Helper()
	tree := &tasktree.Tree{Source: "family.yaml", Root: &tasktree.Task{Name: "root", Children: []*tasktree.Task{
		{Name: "a", Children: []*tasktree.Task{{Name: "c"}}},
		{Name: "b", SharesFiles: tasktree.Text{Value: "a"}},
	}}}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return &plan.Plan{Tree: tree, Arena: program.NewArena(program.DefaultBase, 4)}
}

const root, a, c, b = 0, 1, 2, 3 // indexes of the tasks

func wait(waiter int, s recipe.Stage, awaited int, t recipe.Stage, line int) assign.Wait {
	return assign.Wait{Before: assign.Point{Task: waiter, Stage: s}, Until: assign.Point{Task: awaited, Stage: t}, Pos: tasktree.Pos{Line: line, Col: 1}}
}

// TestCounters holds that there is one counter for each set of tasks that is waited for.
func TestCounters(t *testing.T) {
	p := family(t)
	got, err := assign.CountersOf(p, []assign.Wait{
		wait(a, recipe.Place, c, recipe.Wired, 1),
		wait(b, recipe.Rights, c, recipe.Wired, 2),
		wait(root, recipe.Deaths, a, recipe.Place, 3),
		wait(root, recipe.Deaths, b, recipe.Place, 3),
		wait(root, recipe.Deaths, b, recipe.Place, 3),
	}, nobody)
	if err != nil {
		t.Fatal(err)
	}
	at := func(task int, s recipe.Stage) assign.Point { return assign.Point{Task: task, Stage: s} }
	one, both := got.Await[at(a, recipe.Place)], got.Await[at(root, recipe.Deaths)]
	if len(one) != 1 || !slices.Equal(one, got.Await[at(b, recipe.Rights)]) || !slices.Equal(one, got.Pass[at(c, recipe.Wired)]) {
		t.Errorf("a and b wait for c by %v and %v, which passes %v", one, got.Await[at(b, recipe.Rights)], got.Pass[at(c, recipe.Wired)])
	}
	if len(both) != 1 || both[0] == one[0] || !slices.Equal(both, got.Pass[at(a, recipe.Place)]) || !slices.Equal(both, got.Pass[at(b, recipe.Place)]) {
		t.Errorf("the root waits by %v, a passes %v, b %v", both, got.Pass[at(a, recipe.Place)], got.Pass[at(b, recipe.Place)])
	}
	for counter, want := range map[uint64]uint64{one[0]: 1, both[0]: 2} {
		if n := program.WordsAt(p.Arena.Base, p.Arena.Data(), counter, 1)[0]; n != want {
			t.Errorf("a counter begins with %d, want %d", n, want)
		}
	}
	if got.Pos[both[0]].Line != 3 {
		t.Errorf("the counter of the root is asked for at %v", got.Pos[both[0]])
	}
}

func nobody(int) bool { return false }

// TestWaitForTheDead holds that a task which ends by plan is not waited for at what is
// behind that.
func TestWaitForTheDead(t *testing.T) {
	isC := func(task int) bool { return task == c }
	if _, err := assign.CountersOf(family(t), []assign.Wait{wait(a, recipe.Stops, c, recipe.Stops, 1)}, isC); err != nil {
		t.Error(err)
	}
	_, err := assign.CountersOf(family(t), []assign.Wait{wait(a, recipe.End, c, recipe.Last, 1)}, isC)
	if want := `family.yaml:1:1: task "a" waits for "c", which has ended by then`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestCircles holds who cannot wait for whom.
func TestCircles(t *testing.T) {
	for _, test := range []struct {
		name  string
		waits []assign.Wait
		want  string // the tasks that wait, "" for none
	}{
		{"nobody", nil, ""},
		{"a child waits for its parent", []assign.Wait{wait(c, recipe.Enter, a, recipe.Session, 1)}, ""},
		{"a parent waits for what its child does first", []assign.Wait{wait(a, recipe.Turns, c, recipe.Stops, 1)}, ""},
		{"a parent waits before it forks", []assign.Wait{wait(a, recipe.Session, c, recipe.Enter, 1)}, `"a" (1:1) -> "a"`},
		{"a task waits for itself", []assign.Wait{wait(a, recipe.Place, a, recipe.Place, 1)}, `"a" (1:1) -> "a"`},
		{"two wait for each other", []assign.Wait{wait(a, recipe.Place, c, recipe.Rights, 1), wait(c, recipe.Rights, a, recipe.Stops, 2)}, `"a" (1:1) -> "c" (2:1) -> "a"`},
		{"two wait in turn", []assign.Wait{wait(a, recipe.Place, c, recipe.Wired, 1), wait(c, recipe.Rights, a, recipe.Place, 2)}, ""},
		{"behind the gate for what is before it", []assign.Wait{wait(a, recipe.End, c, recipe.Stops, 1)}, ""},
		{"before the gate for what is behind it", []assign.Wait{wait(a, recipe.Stops, c, recipe.Last, 1)}, `"a" (1:1) -> "a"`},
		{"a sharer waits for the table before it has left the owner's", []assign.Wait{wait(b, recipe.Groups, a, recipe.Wired, 1)}, `"b" (1:1) -> "b"`},
		{"a sharer waits for the table when it has it", []assign.Wait{wait(b, recipe.Wired, a, recipe.Wired, 1)}, ""},
		{"who leads to the circle is not in it", []assign.Wait{wait(b, recipe.Wired, a, recipe.Place, 1), wait(a, recipe.Place, c, recipe.Rights, 2), wait(c, recipe.Rights, a, recipe.Place, 3)}, `"a" (2:1) -> "c" (3:1) -> "a"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := assign.CountersOf(family(t), test.waits, nobody)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.HasSuffix(err.Error(), "tasks wait for one another: "+test.want)):
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
