package planner_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/fdstore"
	"regrow/restore/internal/landing"
	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// againTree has a task whose descriptors are what a function says, and one more
// that shares every file, so that all come out of the store.
func againTree(t testing.TB, files, from, to int, file func(n int) int) *tasktree.Tree {
	t.Helper()
	tree := &tasktree.Tree{Root: &tasktree.Task{Name: "root"}}
	other, task := &tasktree.Task{Name: "other"}, &tasktree.Task{Name: "task"}
	for i := range files {
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: fmt.Sprintf("f%d", i), Spec: &kind.Reg{Path: plantest.Text("/dev/null")}})
		other.FDs = append(other.FDs, tasktree.Descriptor{FD: 4000 + 2*i, File: plantest.Text(tree.Files[i].Name)})
	}
	for n := from; n < to; n++ {
		if f := file(n); f >= 0 {
			task.FDs = append(task.FDs, tasktree.Descriptor{FD: n, File: plantest.Text(tree.Files[f].Name)})
		}
	}
	tree.Root.Children = []*tasktree.Task{task, other}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}

func TestFilesComeAgain(t *testing.T) {
	for _, c := range []struct {
		name            string
		files, from, to int
		file            func(n int) int
		messages        string // of the task in the order of its pulls, by file
		dups            int
	}{
		{name: "standard descriptors on one log", files: 2, to: 4, file: func(n int) int { return n / 3 }, messages: "0 0 0 1"},
		{name: "right above where they land", files: 2, from: 3, to: 5, file: func(n int) int { return n - 3 }, messages: "0 1 0 1"},
		{name: "far above where they land", files: 2, from: 9, to: 11, file: func(n int) int { return n - 9 }, messages: "0 1", dups: 2},
		{name: "one file, more than a message holds", files: 1, from: 1, to: 1 + 3*253, file: func(int) int { return 0 }, messages: "0 x253, 0 x253, 0 x253"},
		{name: "three files in turn", files: 3, to: 3 * 253, file: func(n int) int { return n % 3 }, messages: "0 1 2 x84.3, 1 2 0 x84, 1 2 0 x84", dups: 3},
		{name: "a gap, where the store is", files: 1, to: 60, file: func(n int) int { return map[bool]int{true: -1}[n == 30] }, messages: "0 x59"},
		{name: "a gap of two", files: 1, to: 60, file: func(n int) int { return map[bool]int{true: -1}[n/2 == 15] }, messages: "0 x30, 0 x29"},
		{name: "every fourth number", files: 1, to: 400, file: func(n int) int { return map[bool]int{true: -1}[n%4 > 0] }, messages: "0", dups: 99},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := plantest.Must(t)(planner.New(againTree(t, c.files, c.from, c.to, c.file), plantest.Host, plan.Options{}))
			if err := model.Verify(p); err != nil {
				t.Fatal(err)
			}
			var pulls []string
			dups := 0
			for i := range p.Tasks[1].Ops {
				op := &p.Tasks[1].Ops[i]
				if op.Kind == program.OpPull {
					pulls = append(pulls, contents(p.Messages[p.MessageOf(op)]))
				}
				if op.Nr == unix.SYS_DUP3 {
					dups++
				}
			}
			if got := strings.Join(pulls, ", "); got != c.messages || dups != c.dups {
				t.Errorf("messages %s and %d dup3, want %s and %d", got, dups, c.messages, c.dups)
			}
		})
	}
}

// contents tells the files of a message: each, or a period and how often it comes.
func contents(message []plan.FileEnd) string {
	var names []string
	for _, fe := range message {
		names = append(names, fmt.Sprint(fe.File))
	}
	const short = 8
	if len(names) <= short {
		return strings.Join(names, " ")
	}
	period := len(message) - landing.LongestBorder(message)
	times := strings.TrimSuffix(fmt.Sprintf("%.1f", float64(len(message))/float64(period)), ".0")
	return strings.Join(names[:period], " ") + " x" + times
}

// TestOnceIfNeeded holds that nothing is refused, or beyond what an ordinary user
// may have in flight, because files come again.
func TestOnceIfNeeded(t *testing.T) {
	again := func(p *plan.Plan) bool {
		return slices.ContainsFunc(p.Messages, func(m []plan.FileEnd) bool {
			return len(m) > 1 && slices.Contains(m[1:], m[0])
		})
	}
	scattered := func(n int) int { return n * n % 7 }
	for _, hard := range []uint64{4096, 93} {
		host := plantest.Host
		host.HardFiles, host.SoftFiles = hard, min(host.SoftFiles, hard)
		tree := againTree(t, 7, 0, 90, scattered)
		for i := range tree.Root.Children[1].FDs { // below any of these limits
			tree.Root.Children[1].FDs[i].FD = 10 + 2*i
		}
		p := plantest.Must(t)(planner.New(tree, host, plan.Options{}))
		if got, want := again(p), hard > 93; got != want {
			t.Errorf("hard limit %d: files come again: %v, want %v", hard, got, want)
		}
		if err := model.Verify(p); err != nil {
			t.Error(err)
		}
	}
}

// privateTree has tasks with files of their own, each at many numbers.
func privateTree(t testing.TB, tasks, files, numbers int) *tasktree.Tree {
	t.Helper()
	tree := &tasktree.Tree{Root: &tasktree.Task{Name: "root"}}
	next := uint32(1)
	for i := range tasks {
		task := &tasktree.Task{Name: fmt.Sprintf("t%d", i)}
		for j := range files {
			tree.Files = append(tree.Files, &tasktree.OpenFile{Name: fmt.Sprintf("f%d-%d", i, j), Spec: &kind.Reg{Path: plantest.Text("/dev/null")}})
		}
		for n := range numbers {
			next = next*1664525 + 1013904223 // in no order that comes again
			task.FDs = append(task.FDs, tasktree.Descriptor{FD: n, File: plantest.Text(tree.Files[i*files+int(next>>16)%files].Name)})
		}
		tree.Root.Children = append(tree.Root.Children, task)
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}

// TestOnceIfFewerInFlight has trees whose files would fill what a user may have in
// flight, if they came again: they do not, if that helps.
func TestOnceIfFewerInFlight(t *testing.T) {
	for _, c := range []struct {
		name                  string
		tasks, files, numbers int
		hard                  uint64
		once                  bool
	}{
		{name: "private files", tasks: 100, files: 12, numbers: 720, hard: 1500, once: true},
		{name: "private files, room for them", tasks: 10, files: 12, numbers: 720, hard: 100000},
		{name: "many numbers in no order", tasks: 10, files: 50, numbers: 1000, hard: 1024, once: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := plantest.Host
			host.HardFiles, host.SoftFiles = c.hard, min(host.SoftFiles, c.hard)
			p := plantest.Must(t)(planner.New(privateTree(t, c.tasks, c.files, c.numbers), host, plan.Options{}))
			if p.Options.Once != c.once || uint64(p.InFlight()) > c.hard {
				t.Errorf("once %v, %d in flight, want %v and at most %d", p.Options.Once, p.InFlight(), c.once, c.hard)
			}
			if err := model.Verify(p); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPipesStay holds that a pipe of one task is made by that task, however often it
// has it: nobody else may have an end.
func TestPipesStay(t *testing.T) {
	tree := &tasktree.Tree{
		Files: []*tasktree.OpenFile{{Name: "p", Spec: &kind.Pipe{}}, {Name: "r", Spec: &kind.Reg{Path: plantest.Text("/dev/null")}}},
		Root:  &tasktree.Task{Name: "root"},
	}
	for n := range 2 * landing.FewRepeated {
		tree.Root.FDs = append(tree.Root.FDs, tasktree.Descriptor{FD: n, File: plantest.Text([]string{"p.r", "p.w", "r"}[n%3])})
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	p := plantest.Must(t)(planner.New(tree, plantest.Host, plan.Options{}))
	if len(p.Messages) > 0 {
		t.Errorf("%d messages", len(p.Messages))
	}
	if err := model.Verify(p); err != nil {
		t.Error(err)
	}
}

// TestAgainKeepsModel plans large tables of few files, with gaps, near limits and in
// both layouts of the store.
func TestAgainKeepsModel(t *testing.T) {
	again := 0
	rapid.Check(t, func(t *rapid.T) {
		tree := &tasktree.Tree{Root: &tasktree.Task{Name: "root"}}
		files := rapid.IntRange(1, 6).Draw(t, "files")
		for i := range files {
			tree.Files = append(tree.Files, &tasktree.OpenFile{Name: fmt.Sprintf("f%d", i), Spec: &kind.Reg{Path: plantest.Text("/dev/null")}})
		}
		highest := 0
		for i := range rapid.IntRange(1, 3).Draw(t, "tasks") {
			task := &tasktree.Task{Name: fmt.Sprintf("t%d", i)}
			n := rapid.IntRange(0, 30).Draw(t, "first")
			for range rapid.IntRange(0, 8).Draw(t, "runs") {
				n += rapid.SampledFrom([]int{0, 0, 1, 3, 40}).Draw(t, "gap")
				from, step := rapid.IntRange(0, files-1).Draw(t, "file"), rapid.IntRange(0, 2).Draw(t, "step")
				cloexec := rapid.IntRange(0, 2).Draw(t, "cloexec")
				for j := range rapid.IntRange(1, 200).Draw(t, "length") {
					task.FDs = append(task.FDs, tasktree.Descriptor{
						FD: n, File: plantest.Text(tree.Files[(from+j*step)%files].Name), Cloexec: cloexec == 1 || cloexec == 2 && j%3 == 0,
					})
					highest = max(highest, n)
					n++
				}
			}
			tree.Root.Children = append(tree.Root.Children, task)
		}
		if problems := tree.Check(); len(problems) > 0 {
			t.Fatal(problems)
		}
		host := plantest.Host
		host.HardFiles = uint64(highest + rapid.SampledFrom([]int{1, 2, 5, 5000}).Draw(t, "room"))
		host.SoftFiles = min(host.SoftFiles, host.HardFiles)
		o := plan.Options{Layout: rapid.SampledFrom([]fdstore.Layout{0, 1}).Draw(t, "layout")}
		p, err := planner.New(tree, host, o)
		if err == nil {
			err = model.Verify(p)
		}
		o.Once = true
		if _, refused := errors.AsType[*plan.RefusedError](err); refused {
			if _, err := planner.New(tree, host, o); err == nil {
				t.Fatal("refused because files come again")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := planner.New(tree, host, o); err == nil && !p.Options.Once {
			again++
			for i := range p.Tasks {
				if got, want := model.Calls(&p.Tasks[i]), model.Calls(&plain.Tasks[i]); got > want+4+2*files { // a store, where there was none, at a number where files of the task's own would land
					t.Fatalf("task %d: %d calls, %d if no file comes again", i, got, want)
				}
			}
		}
	})
	if again == 0 {
		t.Error("no plan brings a file again")
	}
}
