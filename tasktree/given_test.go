package tasktree_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// inherited is an inherit with a key.
type inherited struct {
	fake

	key string
}

func (i inherited) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{ByRunner: true} }
func (i inherited) CallerKey() string                     { return i.key }

func inherit(key string) inherited { return inherited{fake{kind: "inherit"}, key} }

// TestReplace checks what a key stands for, and the messages for keys that stand for
// nothing or for two things.
func TestReplace(t *testing.T) {
	type given = map[string]int
	for _, c := range []struct {
		name  string
		given given
		want  []tasktree.Given
		wrong []string
	}{
		{"nothing", nil, nil, nil},
		{"the key of an inherit", given{"listener": 5}, nil, nil},
		{"the name of an open file", given{"log": 5}, []tasktree.Given{{Name: "log", FD: 5, Pos: at(3, entryCol)}}, nil},
		{"the name of an inherit", given{"lsn": 5}, []tasktree.Given{{Name: "lsn", FD: 5, Pos: at(5, entryCol)}}, nil},
		{"an inherit whose name is its key", given{"db": 5}, nil, nil},
		{"one end", given{"jobs.r": 5}, []tasktree.Given{{Name: "jobs.r", FD: 5, Pos: at(4, entryCol)}}, nil},
		{
			"all of it",
			given{"jobs.w": 6, "jobs.r": 5, "log": 5, "listener": 7},
			[]tasktree.Given{{Name: "log", FD: 5, Pos: at(3, entryCol)}, {Name: "jobs.r", FD: 5, Pos: at(4, entryCol)}, {Name: "jobs.w", FD: 6, Pos: at(4, entryCol)}},
			nil,
		},
		{"one that no task uses", given{"idle": 5}, []tasktree.Given{{Name: "idle", FD: 5, Pos: at(9, entryCol)}}, nil},
		{"a file whose name is a standard key", given{"stderr": 5}, []tasktree.Given{{Name: "stderr", FD: 5, Pos: at(8, entryCol)}}, nil},
		{"standard output, which the tree inherits", given{"stdout": 5}, nil, []string{"stdout: the key stdout always means the caller's own descriptor: leave it out"}},
		{"standard input, which the tree does not inherit", given{"stdin": 5}, nil, []string{"stdin: the key stdin always means the caller's own descriptor: leave it out"}},
		{"a mistyped name", given{"lgo": 5}, nil, []string{`lgo: no open file of the tree has this name or key (did you mean "log"?)`}},
		{"a mistyped key", given{"listner": 5}, nil, []string{`listner: no open file of the tree has this name or key (did you mean "listener"?)`}},
		{"a mistyped end", given{"jobs.reader": 5}, nil, []string{`jobs.reader: no open file of the tree has this name or key (its ends are jobs.r or jobs.w)`}},
		{
			"something else",
			given{"somethingelse": 5},
			nil,
			[]string{"somethingelse: no open file of the tree has this name or key (there are log, jobs.r, jobs.w, lsn, out, db, stderr, idle, both, two and 1 more)"},
		},
		{"a pipe without an end", given{"jobs": 5}, nil, []string{"jobs: it is a pipe at 4:1: name one of its ends, jobs.r or jobs.w"}},
		{"a file with an end", given{"log.reader": 5}, nil, []string{`log.reader: no open file of the tree has this name or key (a reg has no ends: write "log")`}},
		{
			"both a key and a name",
			given{"both": 5},
			nil,
			[]string{`both: it is the key of "two" at 11:1 and also the name of another open file at 10:1: rename one of them`},
		},
		{
			"by its name and by its key",
			given{"lsn": 5, "listener": 6},
			nil,
			[]string{`listener: open file "lsn", which has this key, is replaced by the descriptor with the key "lsn": leave out one of the two keys`},
		},
		{
			"all that is wrong",
			given{"a": 1, "jobs": 5, "log": 7},
			nil,
			[]string{
				"a: no open file of the tree has this name or key (there are log, jobs.r, jobs.w, lsn, out, db, stderr, idle, both, two and 1 more)",
				"jobs: it is a pipe at 4:1: name one of its ends, jobs.r or jobs.w",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			original := tree(task(1, "a", fd(1, 0, "log"), fd(1, 1, "jobs.r"), fd(1, 2, "lsn"), fd(1, 3, "stderr"), task(2, "b", fd(2, 9, "jobs.w"), fd(2, 8, "both"), fd(2, 7, "two"))),
				file(3, "log", plain), file(4, "jobs", twoEnd), file(5, "lsn", inherit("listener")), file(6, "out", inherit("stdout")),
				file(7, "db", inherit("db")), file(8, "stderr", plain), file(9, "idle", plain), file(10, "both", plain), file(11, "two", inherit("both")))
			if problems := original.Check(); len(problems) > 0 {
				t.Fatal(problems)
			}
			replaced, err := original.Replace(c.given)
			var wrong []string
			if e, ok := errors.AsType[*tasktree.GivenError](err); ok {
				for _, k := range e.Keys {
					wrong = append(wrong, k.Key+": "+k.Msg)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.wrong, wrong); diff != "" {
				t.Fatalf("problems (-want +got):\n%s", diff)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(c.want, replaced.Given()); diff != "" {
				t.Errorf("replaced files (-want +got):\n%s", diff)
			}
			if (c.want == nil) != (replaced == original) {
				t.Error("Replace made a copy that is not needed, or changed the tree")
			}
			if again, err := replaced.Replace(c.given); err != nil || again != replaced {
				t.Errorf("replaced again: another tree, %v", err)
			}
			back, err := replaced.Replace(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, as := back.Files[0].Spec.(fake); !as || len(back.Given()) > 0 {
				t.Errorf("and back: %v, %T", back.Given(), back.Files[0].Spec)
			}
		})
	}
}

// TestReplaceMakes checks which ends of an entry are still made.
func TestReplaceMakes(t *testing.T) {
	one := task(1, "a", fd(1, 0, "jobs.r"))
	both := task(1, "a", fd(1, 0, "jobs.r"), fd(1, 1, "jobs.w"))
	for _, c := range []struct {
		name  string
		root  *tasktree.Task
		given string
		want  string
	}{
		{"one of two", both, "jobs.r", "made given"},
		{"one, and no task has the other", one, "jobs.r", "given"},
		{"both", both, "jobs.r jobs.w", "given given"},
		{"the one that no task has", one, "jobs.w", "made given"},
	} {
		t.Run(c.name, func(t *testing.T) {
			original := tree(c.root, file(3, "jobs", maker{twoEnd}))
			if problems := original.Check(); len(problems) > 0 {
				t.Fatal(problems)
			}
			given := map[string]int{}
			for i, key := range strings.Fields(c.given) {
				given[key] = i
			}
			replaced, err := original.Replace(given)
			if err != nil {
				t.Fatal(err)
			}
			m := &noting{}
			spec := replaced.Files[0].Spec
			refs := spec.Make(replaced, m)
			if (len(refs) == 2) != strings.Contains(c.want, "made") {
				t.Errorf("refs %v", refs)
			}
			keys, pos := tasktree.GivenEnds(spec)
			for _, key := range keys {
				if key != "" {
					m.made = append(m.made, "given")
				}
			}
			if got := strings.Join(m.made, " "); got != c.want || len(keys) != 2 || !pos.IsValid() {
				t.Errorf("made %q, want %q; keys %q at %v", got, c.want, keys, pos)
			}
			traits := spec.Traits(replaced)
			if !traits.ByRunner || (tasktree.CallerKey(spec) == "") != strings.Contains(c.want, "made") {
				t.Errorf("traits %+v", traits)
			}
		})
	}
}

// maker is a kind that notes when it is made.
type maker struct{ fake }

func (maker) Make(_ *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	m.Call(recipe.Call{})
	return []recipe.Ref{0, 1}
}

// noting is a Maker that records what is made.
type noting struct {
	recipe.Maker

	made []string
}

func (*noting) At(tasktree.Pos)    {}
func (n *noting) Call(recipe.Call) { n.made = append(n.made, "made") }
