package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/images/live"
	"regrow/restore/internal/host"
	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/restore/internal/show"
	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/test/rounds"
)

// drawLab makes a random tree of files that can be opened anywhere, with tables of the shapes
// in which helpers collide with descriptors. If limit is not 0, all numbers are below it, and
// often close to it.
func drawLab(t *rapid.T, maxTasks, limit int) *tasktree.Tree {
	tree := &tasktree.Tree{Source: "random.yaml"}
	var ends []string
	for i := range rapid.IntRange(1, 12).Draw(t, "files") {
		name := fmt.Sprintf("f%d", i)
		var spec tasktree.Spec
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			spec = &kind.Pipe{Content: plantest.Text(rapid.StringMatching(`[a-z]{0,20}`).Draw(t, "content"))}
			ends = append(ends, name+".r", name+".w")
		case 1:
			spec = &kind.Inherit{Key: plantest.Text("stderr")}
			ends = append(ends, name)
		default:
			spec = &kind.Reg{Path: plantest.Text(rapid.SampledFrom([]string{"/dev/null", "/dev/zero", "/etc", "/proc/version"}).Draw(t, "path"))}
			ends = append(ends, name)
		}
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: name, Spec: spec})
	}
	shape := rapid.IntRange(0, 4).Draw(t, "shape")
	var all []*tasktree.Task
	line := 1
	for i := range rapid.IntRange(1, maxTasks).Draw(t, "tasks") {
		task := &tasktree.Task{Name: fmt.Sprintf("t%d", i), Pos: tasktree.Pos{Line: line, Col: 1}}
		for j, n := range drawNumbers(t, shape, limit) {
			file := rapid.SampledFrom(ends).Draw(t, "end")
			if shape == 1 { // the same files in another order in each task
				file = ends[(i+j)%len(ends)]
			}
			line++
			task.FDs = append(task.FDs, tasktree.Descriptor{
				FD: n, File: plantest.Text(file), Cloexec: rapid.Bool().Draw(t, "cloexec"), Pos: tasktree.Pos{Line: line, Col: 1},
			})
		}
		line++
		if i > 0 {
			parent := all[rapid.IntRange(0, i-1).Draw(t, "parent")]
			parent.Children = append(parent.Children, task)
		}
		all = append(all, task)
	}
	tree.Root = all[0]
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatalf("the generator has made an invalid tree: %v", problems)
	}
	plantest.DrawShares(t, tree)
	return tree
}

// drawNumbers returns the numbers of one table in the order of the description.
func drawNumbers(t *rapid.T, shape, limit int) []int {
	if limit > 0 && rapid.IntRange(0, 5).Draw(t, "full") == 0 {
		full := make([]int, limit-rapid.IntRange(0, 2).Draw(t, "free"))
		for i := range full {
			full[i] = i
		}
		return rapid.Permutation(full).Draw(t, "order")
	}
	if limit > 0 && rapid.Bool().Draw(t, "high") {
		return rapid.SliceOfNDistinct(rapid.OneOf(rapid.IntRange(0, 5), rapid.IntRange(limit-6, limit-1)), 0, 9, rapid.ID[int]).Draw(t, "numbers")
	}
	dense := make([]int, rapid.IntRange(0, 9).Draw(t, "fds"))
	for i := range dense {
		dense[i] = i
	}
	switch shape {
	case 0, 1: // without a gap, in order; and cyclic
		return dense
	case 2: // without a gap, in any order
		return rapid.Permutation(dense).Draw(t, "order")
	case 3:
		return rapid.SliceOfNDistinct(rapid.IntRange(0, 30), 0, 9, rapid.ID[int]).Draw(t, "numbers")
	default: // far apart
		if limit > 0 {
			return dense
		}
		return rapid.SliceOfNDistinct(rapid.OneOf(rapid.IntRange(0, 5), rapid.IntRange(900, 1100)), 0, 6, rapid.ID[int]).Draw(t, "numbers")
	}
}

// treesEnv is the number of random trees that each test of this file restores. The default is
// rapid's -rapid.checks.
const treesEnv = "REGROW_TEST_TREES"

// TestPredictionIsReality restores random trees with every strategy, careful and naive, and
// compares each descriptor of each task with the prediction of the model.
func TestPredictionIsReality(t *testing.T) {
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	rounds.Check(t, treesEnv, 100, func(rt *rapid.T) { predictionIsReality(t, rt, here, 0, counts) })
	t.Logf("trees restored, what they found: %v", counts)
}

const nearLimitEnv = "REGROW_TEST_NEAR_LIMIT"

// TestPredictionNearLimit does the same in a process with a low RLIMIT_NOFILE, and tables that
// are full, or nearly so. A tree that does not fit is refused before anything starts;
// everything else comes out as predicted.
func TestPredictionNearLimit(t *testing.T) {
	const limit = 64
	if os.Getenv(nearLimitEnv) == "" {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `ulimit -n "$1"; exec "$0" -test.run '^TestPredictionNearLimit$' -test.v -rapid.nofailfile`,
			"/proc/self/exe", strconv.Itoa(limit))
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Args[3] = self
		cmd.Env = append(os.Environ(), nearLimitEnv+"=1", "GOCOVERDIR="+t.TempDir())
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		// Not a pipe, which a leftover task would keep open.
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
		runErr := cmd.Run()
		text, _ := os.ReadFile(out.Name())
		if runErr != nil || !strings.Contains(string(text), "--- PASS") {
			t.Fatalf("%v\n%s", runErr, text)
		}
		t.Logf("%s", text)
		return
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	here, err := host.ThisHost()
	if err != nil || here.HardFiles != limit {
		t.Fatalf("the limit is %d, want %d (%v)", here.HardFiles, limit, err)
	}
	counts := map[string]int{}
	rounds.Check(t, treesEnv, 100, func(rt *rapid.T) { predictionIsReality(t, rt, here, limit, counts) })
	t.Logf("trees restored, what they found: %v", counts)
}

func predictionIsReality(t *testing.T, rt *rapid.T, here plan.Host, limit int, counts map[string]int) {
	tree := drawLab(rt, 6, limit)
	o := plan.Options{
		Inherit:  drawOwn(rt, tree, limit),
		Strategy: rapid.SampledFrom(plan.Strategies()).Draw(rt, "strategy"),
		Naive:    rapid.Bool().Draw(rt, "naive"),
		Help:     rapid.IntRange(0, 2).Draw(rt, "helpers"),
	}
	if rapid.IntRange(0, 3).Draw(rt, "service fd") == 0 {
		n := rapid.IntRange(0, 12).Draw(rt, "number")
		o.ServiceFD = &n
	}
	p, err := planner.New(tree, here, o)
	if _, refused := errors.AsType[*plan.RefusedError](err); refused && limit > 0 {
		counts["refused"]++
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	pr, err := model.Predict(p)
	if err != nil {
		rt.Fatal(err)
	}
	seen := observe(t, rt, p, pr)
	if differ := pr.Disagree(seen); len(differ) > 0 {
		var picture bytes.Buffer
		_ = show.WriteText(p, &picture)
		rt.Fatalf("%s\n%v\n%s", strings.Join(differ, "\n"), pr.Collisions, picture.String())
	}
	checkVerdict(rt, tree, pr, seen)
	counts["all"]++
	form := o.Strategy.String()
	if o.Naive {
		form = "naive " + form
	}
	counts[form]++
	if slices.ContainsFunc(tree.Tasks(), (*tasktree.Task).Sharer) {
		counts[form+" with shared tables"]++
	}
	if slices.ContainsFunc(p.Tasks, func(prog program.Program) bool {
		return slices.ContainsFunc(prog.Ops, func(op program.Op) bool { return op.Kind == program.OpHelp })
	}) {
		counts[form+" with helpers"]++
	}
	if len(o.Inherit) > 0 {
		counts[form+" with files replaced"]++
	}
	if len(pr.Collisions) > 0 {
		counts[form+" collides"]++
	}
	if slices.ContainsFunc(pr.Tasks, func(t model.TaskPrediction) bool { return t.Failed != nil }) {
		counts[form+" fails"]++
	}
}

// observe reads the tables of a tree in which every task is ready. After a careful plan they
// must be as described.
func observe(t *testing.T, rt *rapid.T, p *plan.Plan, predicted *model.Prediction) []plan.Outcome {
	outcomes := make([]plan.Outcome, len(p.Tree.Tasks()))
	err := (&Plan{p}).Rehearse(t.Context(), Options{Timeout: patience}, func(v View) error {
		seen, err := live.Look(v.PIDs[0], live.Options{Own: v.Files})
		if err != nil {
			return err
		}
		if !p.Options.Naive {
			for _, f := range live.Compare(p.Tree, seen, live.Shape).Differences {
				rt.Errorf("%v: %v", f.Pos, f)
			}
		}
		tables, err := seen.Identify(p.Tree, v.PIDs, func(task, fd int) string { return predicted.Tasks[task].Table[fd].File })
		if err != nil {
			return err
		}
		for i, table := range tables {
			outcomes[i] = plan.Outcome{Failed: v.Failed[i], Table: map[int]plan.Held{}}
			if table.Shares != nil {
				outcomes[i].Shares = table.Shares.Name
			}
			for n, d := range table.FDs {
				outcomes[i].Table[n] = plan.Held{File: d.Name, Cloexec: d.Cloexec}
			}
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
	return outcomes
}

// drawOwn opens descriptors of this process to replace open files of any kind. With a limit
// it opens none.
func drawOwn(rt *rapid.T, tree *tasktree.Tree, limit int) map[string]int {
	given := map[string]int{}
	if limit > 0 {
		return given
	}
	for _, f := range tree.Files {
		for end := range max(1, len(f.Spec.Ends())) {
			if rapid.IntRange(0, 11).Draw(rt, "replaced") > 0 {
				continue
			}
			fd, err := unix.Open("/dev/full", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				rt.Fatal(err)
			}
			rt.Cleanup(func() { _ = unix.Close(fd) })
			given[f.EndName(end)] = fd
		}
	}
	return given
}

// checkVerdict compares the prediction with the description and the real tables: there is no
// collision and no failure if and only if every table is right.
func checkVerdict(t *rapid.T, tree *tasktree.Tree, pr *model.Prediction, seen []plan.Outcome) {
	right := true
	for i, task := range tree.Tasks() {
		want := map[int]plan.Held{}
		for _, d := range task.Table().FDs {
			want[d.FD] = plan.Held{File: d.File.Value, Cloexec: d.Cloexec}
		}
		right = right && seen[i].Failed == nil && fmt.Sprint(want) == fmt.Sprint(seen[i].Table)
	}
	if right != pr.Held() {
		t.Fatalf("the real tables are right: %v, the prediction says %v: %v", right, pr.Held(), pr.Collisions)
	}
	if !pr.Naive && !right {
		t.Fatal("a careful plan went wrong")
	}
}
