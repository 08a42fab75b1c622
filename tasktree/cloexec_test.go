package tasktree_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"regrow/tasktree"
)

func ranges(words ...string) (c tasktree.Cloexec) {
	for _, w := range words {
		c.Ranges = append(c.Ranges, tasktree.Text{Value: w})
	}
	return c
}

func TestCloexecCovers(t *testing.T) {
	for _, c := range []struct {
		words string
		want  []int // of 0 to 12
	}{
		{"", nil},
		{"3", []int{3}},
		{"7-10 3 8", []int{3, 7, 8, 9, 10}},
		{"2-9 3-4 6 11", []int{2, 3, 4, 5, 6, 7, 8, 9, 11}},
		{"5 5 4-5", []int{4, 5}},
		{"9-3 x 03 0", []int{0}}, // wrong entries cover nothing
	} {
		list := ranges(strings.Fields(c.words)...)
		covers := list.Covers()
		var got []int
		for fd := range 13 {
			if covers(fd) {
				got = append(got, fd)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q covers %v, want %v", c.words, got, c.want)
		}
	}
	all := tasktree.Cloexec{All: tasktree.Text{Value: "all"}}
	if covers := all.Covers(); !covers(0) || !covers(tasktree.MaxFD) {
		t.Error("all does not cover all")
	}
}

// TestCloexecWhere checks that a number is found at an entry that contains it.
func TestCloexecWhere(t *testing.T) {
	words := []string{"4", "2-9", "3-4", "6", "11", "8-12", "9-3"}
	list := ranges(words...)
	for i := range list.Ranges {
		list.Ranges[i].Pos = at(1, 1+i)
	}
	where := list.Where()
	for fd := range 15 {
		pos, covered := where(fd)
		has := false
		for i := range words {
			lo, hi, ok := list.Range(i)
			here := ok && lo <= fd && fd <= hi
			has = has || here
			if covered && pos.Col == 1+i && !here {
				t.Errorf("%d is found at %q, which does not contain it", fd, words[i])
			}
		}
		if has != covered || covered && !pos.IsValid() {
			t.Errorf("%d is found: %v, at %v; an entry contains it: %v", fd, covered, pos, has)
		}
	}
	all := tasktree.Cloexec{All: tasktree.Text{Value: "all", Pos: at(3, 4)}}
	if pos, covered := all.Where()(5); !covered || pos != at(3, 4) {
		t.Errorf("all: %v, %v", pos, covered)
	}
}

// TestCloexecMany has as many numbers as descriptors. A linear search for each number
// would take minutes.
func TestCloexecMany(t *testing.T) {
	const n = 50_000
	many := &tasktree.Task{Name: "a"}
	for i := range n {
		many.FDs = append(many.FDs, tasktree.Descriptor{FD: n - 1 - i, File: tasktree.Text{Value: "f"}})
		many.Cloexec.Ranges = append(many.Cloexec.Ranges, tasktree.Text{Value: strconv.Itoa(i)})
	}
	began := time.Now()
	if problems := tree(many, file(5, "f", plain)).Check(); len(problems) > 0 {
		t.Fatal(fmt.Sprint(problems[0]))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, d := range many.FDs {
		if !d.Cloexec {
			t.Fatalf("descriptor %d is not close-on-exec", d.FD)
		}
	}
}

// TestCloexecOfSharer checks that a task that shares a table cannot set close-on-exec:
// no task would do it.
func TestCloexecOfSharer(t *testing.T) {
	for name, list := range map[string]tasktree.Cloexec{
		"all":    {All: tasktree.Text{Value: "all", Pos: at(7, 3)}},
		"ranges": {Ranges: []tasktree.Text{{Value: "0", Pos: at(7, 3)}}},
	} {
		sharer := task(6, "b")
		sharer.SharesFiles = tasktree.Text{Value: "a", Pos: at(6, 9)}
		sharer.Cloexec = list
		problems := tree(task(4, "a", fd(5, 0, "f"), sharer), file(2, "f", plain)).Check()
		want := `7:3: tasks[0].children[0].cloexec: task "b" shares the table of task "a"; set close-on-exec there and drop cloexec here`
		if len(problems) != 1 || problems[0].String() != want {
			t.Errorf("%s: %v", name, problems)
		}
	}
}
