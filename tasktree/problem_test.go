package tasktree_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/tasktree"
)

func TestNearest(t *testing.T) {
	a64 := strings.Repeat("a", 64)
	for _, c := range []struct {
		name, word string
		from       []string
		want       string
	}{
		{"nothing there", "log", nil, ""},
		{"empty word", "", []string{"a", "log"}, ""},
		{"pair of letters swapped", "lgo", []string{"console", "log"}, "log"},
		{"letter missing", "consol", []string{"log", "console"}, "console"},
		{"other case", "O_rdonly", []string{"O_WRONLY", "O_RDONLY"}, "O_RDONLY"},
		{"nearest wins", "jobs.r", []string{"jobs.w.x", "job.r", "jabs"}, "job.r"},
		{"first of equals", "lo", []string{"log", "lot"}, "log"},
		{"not the word itself", "log", []string{"log", "logs"}, "logs"},
		{"too far", "jobs", []string{"queue"}, ""},
		{"three letters wrong in a short word", "abcd", []string{"axyz"}, ""},
		{"a third of a long word wrong", "abcdefghijkl", []string{"abcdefghWXYZ"}, "abcdefghWXYZ"},
		{"more than a third of it wrong", "abcdefghijkl", []string{"abcdefgVWXYZ"}, ""},
		{"two letters, one wrong", "ab", []string{"ac"}, "ac"},
		{"two letters, two steps", "ab", []string{"bac"}, ""},
		{"nothing in common", "a", []string{"b"}, ""},
		{"candidate shorter than the slip", "abc", []string{"a"}, ""},
		{"longest word", a64[:63] + "b", []string{a64}, a64},
		{"word too long", a64 + "b", []string{a64}, ""},
		{"candidate too long", a64, []string{a64 + "b"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := tasktree.Nearest(c.word, c.from); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			hint := ""
			if c.want != "" {
				hint = ` (did you mean "` + c.want + `"?)`
			}
			if got := tasktree.DidYouMean(c.word, c.from); got != hint {
				t.Errorf("got %q, want %q", got, hint)
			}
		})
	}
}

func TestSortProblems(t *testing.T) {
	p := func(line, col int, path, msg string) tasktree.Problem {
		return tasktree.Problem{Pos: at(line, col), Path: path, Msg: msg}
	}
	for _, c := range []struct {
		name      string
		got, want []tasktree.Problem
	}{
		{"none", nil, nil},
		{"one", []tasktree.Problem{p(1, 1, "a", "x")}, []tasktree.Problem{p(1, 1, "a", "x")}},
		{
			"position, path, message",
			[]tasktree.Problem{p(10, 1, "a", "x"), p(2, 3, "b", "y"), p(2, 3, "b", "x"), p(2, 3, "a", "z"), p(2, 1, "c", "z"), p(0, 0, "z", "z")},
			[]tasktree.Problem{p(0, 0, "z", "z"), p(2, 1, "c", "z"), p(2, 3, "a", "z"), p(2, 3, "b", "x"), p(2, 3, "b", "y"), p(10, 1, "a", "x")},
		},
		{
			"repetitions go, whatever stood between them",
			[]tasktree.Problem{p(1, 1, "a", "x"), p(1, 1, "b", "x"), p(1, 1, "a", "x"), p(1, 2, "a", "x"), p(1, 1, "a", "y")},
			[]tasktree.Problem{p(1, 1, "a", "x"), p(1, 1, "a", "y"), p(1, 1, "b", "x"), p(1, 2, "a", "x")},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, tasktree.SortProblems(c.got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestInvalidError(t *testing.T) {
	one := tasktree.Problem{Pos: at(4, 3), Path: "tasks[0].pid", Msg: "pid 0"}
	for _, c := range []struct {
		name string
		err  tasktree.InvalidError
		want string
	}{
		{"one", tasktree.InvalidError{"tree.yaml", []tasktree.Problem{one}}, "tree.yaml:4:3: tasks[0].pid: pid 0"},
		{"no source", tasktree.InvalidError{"", []tasktree.Problem{one}}, "tree:4:3: tasks[0].pid: pid 0"},
		{
			"a line each",
			tasktree.InvalidError{"<stdin>", []tasktree.Problem{{Msg: "no document"}, {Pos: at(3, 0), Msg: "half a place"}, one}},
			"<stdin>: no document\n<stdin>:3: half a place\n<stdin>:4:3: tasks[0].pid: pid 0",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.err.Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
