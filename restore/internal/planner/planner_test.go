package planner_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/fdstore"
	"regrow/restore/internal/assign"
	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/show"
	"regrow/restore/internal/words"
	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/test/drawn"
)

// TestPlanKeepsModel holds every plan of a random tree against the model.
func TestPlanKeepsModel(t *testing.T) {
	rapid.Check(t, planKeepsModel)
}

func FuzzPlan(f *testing.F) { f.Fuzz(drawn.Fuzz(planKeepsModel)) }

// planKeepsModel demands of any valid tree that it is planned, and the model
// agrees, or that it is refused with the line that cannot be.
func planKeepsModel(t *rapid.T) {
	tree, host := plantest.DrawTree(t, 12), plantest.DrawHost(t)
	plantest.DrawShares(t, tree)
	p, err := planner.New(tree, host, plan.Options{
		Inherit:      drawGiven(t, tree),
		WithoutStdin: rapid.Bool().Draw(t, "without stdin"), Detach: rapid.Bool().Draw(t, "detach"),
		Strategy: rapid.SampledFrom(plan.Strategies()).Draw(t, "strategy"), Naive: rapid.Bool().Draw(t, "naive"),
		// Shards from the second message on, so that small trees have some.
		Layout: rapid.SampledFrom([]fdstore.Layout{0, 1}).Draw(t, "layout"),
		Help:   rapid.IntRange(0, 2).Draw(t, "helpers"),
	})
	if err != nil {
		checkRefusal(t, tree, host, err)
		return
	}
	if err := model.Verify(p); err != nil {
		var picture bytes.Buffer
		_ = show.WriteText(p, &picture)
		t.Fatalf("%v\n%s", err, picture.String())
	}
	anyOrder(t, p)
	for i := range p.Tasks {
		for j, n := range p.Tasks[i].Notes {
			if n.Line == 0 {
				t.Fatalf("task %d: op %d (%s) has no line", i, j, words.OpName(&p.Tasks[i].Ops[j]))
			}
		}
	}
}

// drawGiven gives descriptors of the caller's for keys of the tree, and for names
// of open files of any kind, which they replace.
func drawGiven(t *rapid.T, tree *tasktree.Tree) map[string]int {
	numbers := rapid.SampledFrom([]int{3, 900})
	given := map[string]int{}
	if tree.Takes("given") {
		given["given"] = numbers.Draw(t, "given")
	}
	for _, f := range tree.Files {
		for end := range max(1, len(f.Spec.Ends())) {
			// A key that is all replaced would be of no use.
			if rapid.IntRange(0, 9).Draw(t, "replaced") == 0 && tasktree.CallerKey(f.Spec) != "given" {
				given[f.EndName(end)] = numbers.Draw(t, "by")
			}
		}
	}
	return given
}

// anyOrder holds that the tables do not depend on who runs first, a task or its
// children.
func anyOrder(t *rapid.T, p *plan.Plan) {
	m, later := model.New(p), model.New(p)
	later.Later = true
	if err := errors.Join(m.Run(), later.Run()); err != nil {
		t.Fatal(err)
	}
	for i := range p.Tasks {
		if !maps.Equal(maps.Collect(m.Tables[i].Cells.All()), maps.Collect(later.Tables[i].Cells.All())) || m.Failed[i] != later.Failed[i] {
			t.Fatalf("task %d: %v, with parents first %v", i, maps.Collect(m.Tables[i].Cells.All()), maps.Collect(later.Tables[i].Cells.All()))
		}
	}
}

// checkRefusal demands that a tree was refused for a reason, at a place.
func checkRefusal(t *rapid.T, tree *tasktree.Tree, host plan.Host, err error) {
	if invalid, ok := errors.AsType[*tasktree.InvalidError](err); ok {
		for _, p := range invalid.Problems {
			if !p.Pos.IsValid() || !strings.HasSuffix(p.Path, ".key") {
				t.Fatalf("refused without a place: %v", err)
			}
		}
		return
	}
	refused, ok := errors.AsType[*plan.RefusedError](err)
	if !ok || !refused.Pos.IsValid() || !strings.HasPrefix(err.Error(), fmt.Sprintf("random.yaml:%d:1: restore: ", refused.Pos.Line)) {
		t.Fatalf("got %T: %v", err, err)
	}
	highest := 0
	for _, task := range tree.Tasks() {
		for _, d := range task.FDs {
			highest = max(highest, d.FD)
		}
	}
	// A table of ten and its helpers fit into any limit but the smallest.
	const roomy = 64
	if uint64(highest) < host.HardFiles && host.HardFiles >= roomy {
		t.Fatalf("refused although the highest number is %d and the limit %d: %v", highest, host.HardFiles, err)
	}
}

// TestFullTable plans tables that use every number below the limit.
func TestFullTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(4, 40).Draw(t, "limit")
		files := rapid.IntRange(1, limit).Draw(t, "files")
		tree := &tasktree.Tree{Root: &tasktree.Task{Name: "full"}}
		for i := range files {
			tree.Files = append(tree.Files, &tasktree.OpenFile{Name: fmt.Sprintf("f%d", i), Spec: &kind.Inherit{Key: plantest.Text("stdin")}})
		}
		used := map[int]bool{}
		for n := range limit {
			f := rapid.IntRange(0, files-1).Draw(t, "file")
			used[f] = true
			tree.Root.FDs = append(tree.Root.FDs, tasktree.Descriptor{FD: n, File: plantest.Text(fmt.Sprintf("f%d", f))})
		}
		if problems := tree.Check(); len(problems) > 0 {
			t.Fatal(problems)
		}
		p, err := planner.New(tree, plan.Host{SoftFiles: uint64(limit), HardFiles: uint64(limit)}, plan.Options{})
		if _, refused := errors.AsType[*plan.RefusedError](err); refused {
			return // nothing can be done: see fullTable
		}
		if err == nil {
			err = model.Verify(p)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestUnknownKey(t *testing.T) {
	tree := &tasktree.Tree{
		Files: []*tasktree.OpenFile{{Name: "f", Spec: &kind.Inherit{Key: plantest.Text("lisener")}}},
		Root:  &tasktree.Task{Name: "a", FDs: []tasktree.Descriptor{{FD: 0, File: plantest.Text("f")}}},
	}
	tree.Check()
	_, err := planner.New(tree, plantest.Host, plan.Options{})
	var invalid *tasktree.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), `--inherit-fd lisener=N`) {
		t.Errorf("got %v, want an InvalidError that names lisener", err)
	}
	_, err = planner.New(tree, plantest.Host, plan.Options{Inherit: map[string]int{"listener": 5}})
	var given *tasktree.GivenError
	if !errors.As(err, &given) || !strings.Contains(err.Error(), `"listener"`) || !strings.Contains(err.Error(), `did you mean "lisener"?`) {
		t.Errorf("got %v, want a GivenError that names listener, and what is meant", err)
	}
}

// TestReplaced holds what is done, and what is not, where descriptors of the
// caller's come in the place of open files.
func TestReplaced(t *testing.T) {
	log := &kind.Reg{Path: plantest.Text("/log"), Flags: kind.Flags{Bits: unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC}, Offset: tasktree.Number{Value: 7}}
	jobs := &kind.Pipe{Capacity: tasktree.Number{Value: 1 << 20}, Content: plantest.Text("job")}
	tree := &tasktree.Tree{
		Source: "tree.yaml",
		Files:  []*tasktree.OpenFile{{Name: "log", Spec: log}, {Name: "jobs", Spec: jobs}},
		Root: &tasktree.Task{Name: "a", FDs: []tasktree.Descriptor{
			{FD: 1, File: plantest.Text("log")}, {FD: 3, File: plantest.Text("jobs.r")}, {FD: 4, File: plantest.Text("jobs.w")},
		}},
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		name       string
		given      map[string]int
		want, lack []string
	}{
		{
			"a regular file",
			map[string]int{"log": 7},
			[]string{`file "log" is the caller's descriptor 7`, "fcntl(7, F_GETFD)", "pipe2", "F_SETPIPE_SZ", `"job"`},
			[]string{"/log", "lseek", "truncate"},
		},
		{
			"an end of a pipe",
			map[string]int{"jobs.r": 8},
			[]string{`file "jobs.r" is the caller's descriptor 8`, "fcntl(8, F_GETFD)", "pipe2", "F_SETPIPE_SZ", `"job"`, "/log", "lseek", "truncate"},
			nil,
		},
		{
			"both ends",
			map[string]int{"jobs.r": 8, "jobs.w": 9},
			[]string{"fcntl(8, F_GETFD)", "fcntl(9, F_GETFD)", "/log"},
			[]string{"pipe2", "F_SETPIPE_SZ", `"job"`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, strategy := range plan.Strategies() {
				p, err := planner.New(tree, plantest.Host, plan.Options{Inherit: c.given, Strategy: strategy})
				if err == nil {
					err = model.Verify(p)
				}
				if err == nil {
					p, err = planner.Rebased(p) // as a runner does whose memory lies elsewhere
				}
				if err != nil {
					t.Fatal(err)
				}
				var out bytes.Buffer
				if err := show.WriteText(p, &out); err != nil {
					t.Fatal(err)
				}
				for _, want := range c.want {
					if !strings.Contains(out.String(), want) {
						t.Errorf("%v: the picture has no %q:\n%s", strategy, want, out.String())
					}
				}
				for _, not := range c.lack {
					if strings.Contains(out.String(), not) {
						t.Errorf("%v: the picture has %q:\n%s", strategy, not, out.String())
					}
				}
			}
		})
	}
	if len(tree.Given()) > 0 || tree.Files[0].Spec != tasktree.Spec(log) {
		t.Error("the description's own tree is changed")
	}
}

func BenchmarkPlan(b *testing.B) {
	tree := plantest.Wide(b)
	b.ReportAllocs()
	for b.Loop() {
		plantest.Must(b)(planner.New(tree, plantest.Host, plan.Options{}))
	}
}

// TestNestedStore plans trees whose messages lie in shards and branches: sizes
// on both sides of where each begins, tables that leave the sockets little room.
func TestNestedStore(t *testing.T) {
	for _, tasks := range []int{500, 501, 2200, 2600} {
		tree := &tasktree.Tree{Root: &tasktree.Task{Name: "root"}}
		for i := range 60 {
			tree.Files = append(tree.Files, &tasktree.OpenFile{Name: fmt.Sprintf("f%d", i), Spec: &kind.Inherit{Key: plantest.Text("stdin")}})
		}
		for i := range tasks {
			task := &tasktree.Task{Name: fmt.Sprintf("t%d", i)}
			for j, f := range []int{i % 60, i / 60 % 60, (i*7 + 3) % 60, i % 13} {
				task.FDs = append(task.FDs, tasktree.Descriptor{FD: (i + 3*j) % 13, File: plantest.Text(fmt.Sprintf("f%d", f)), Cloexec: i%2 == 0})
			}
			tree.Root.Children = append(tree.Root.Children, task)
		}
		if problems := tree.Check(); len(problems) > 0 {
			t.Fatal(problems)
		}
		p := plantest.Must(t)(planner.New(tree, plantest.Host, plan.Options{}))
		if nested := p.Layout == fdstore.Nested; nested != (tasks > assign.FlatMessages) {
			t.Errorf("%d tasks: layout %d", tasks, p.Layout)
		}
		deepest := 0
		for id := range p.Messages {
			deepest = max(deepest, p.Layout.Place(fdstore.ID(id), 1).Depth)
		}
		if want := map[int]int{500: 0, 501: 1, 2200: 2, 2600: 2}[tasks]; deepest != want {
			t.Errorf("%d tasks, %d messages: depth %d, want %d", tasks, len(p.Messages), deepest, want)
		}
		if err := model.Verify(p); err != nil {
			t.Errorf("%d tasks: %v", tasks, err)
		}
	}
}
