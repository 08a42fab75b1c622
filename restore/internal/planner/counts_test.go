package planner_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

var accept = flag.Bool("accept", false, "take the counts of plans as they are now: writes testdata/counts.json")

// counts are what a restore costs, without a clock: they are the same on every
// machine. Averages, rounded to hundredths.
type counts struct {
	Tasks         int     `json:"tasks"`
	Descriptors   int     `json:"descriptors"`
	OpsTask       float64 `json:"ops_a_task"`
	CallsTask     float64 `json:"calls_a_task"`           // system calls of tasks, up to holding
	PullsTask     float64 `json:"calls_for_pulls_a_task"` // of these
	InstallsFD    float64 `json:"calls_a_descriptor"`     // for installing
	RunnerCalls   int     `json:"calls_of_the_runner"`    // for making files and filling the store
	PlanBytesOp   float64 `json:"plan_bytes_an_op"`       // of the arena
	AllocsTask    float64 `json:"planner_allocs_a_task"`  // may differ by a tenth between versions of Go
	VerifyAllocsT float64 `json:"model_allocs_a_task"`    // the same
	Messages      int     `json:"messages_of_the_store"`
}

// TestCounts compares the counts of plans with the committed ones. Whoever changes
// them on purpose says so: go test ./restore/internal/planner -run TestCounts -accept.
func TestCounts(t *testing.T) {
	const path = "testdata/counts.json"
	got := map[string]counts{}
	for name, tree := range countedTrees() {
		if problems := tree.Check(); len(problems) > 0 {
			t.Fatal(problems)
		}
		got[name] = countsOf(t, tree)
	}
	if *accept {
		text, err := json.MarshalIndent(got, "", "  ")
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o755)
		}
		if err == nil {
			err = os.WriteFile(path, append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]counts{}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Fatalf("trees %v, committed %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	for name, g := range got {
		w := want[name]
		for _, near := range []struct{ got, want *float64 }{{&g.AllocsTask, &w.AllocsTask}, {&g.VerifyAllocsT, &w.VerifyAllocsT}} {
			if math.Abs(*near.got-*near.want) <= *near.want/10 {
				*near.got = *near.want
			}
		}
		if g != w {
			t.Errorf("%s:\n got %+v\nwant %+v\nif that is meant: go test ./restore/internal/planner -run TestCounts -accept", name, g, w)
		}
	}
	if w := got["wide"]; w.PullsTask > 2 || w.InstallsFD > 1 {
		t.Errorf("%+v: more than two calls a task for pulling, or one a descriptor for installing", w)
	}
}

// countedTrees are the shapes of test/bench.
func countedTrees() map[string]*tasktree.Tree {
	return map[string]*tasktree.Tree{
		"wide":    countedTree(1000, 10, 200, 10, false),
		"chain":   countedTree(500, 10, 200, 10, true),
		"large":   countedTree(1, 5000, 200, 6, false),
		"private": countedTree(100, 100, 10_000, 10, false),
	}
}

// countedTree makes a root without descriptors and so many tasks below it, or one
// below the other, whose descriptors go through the files in turn.
func countedTree(tasks, fds, files, base int, chain bool) *tasktree.Tree {
	tree := &tasktree.Tree{Root: &tasktree.Task{Name: "root"}}
	for i := range files {
		tree.Files = append(tree.Files, &tasktree.OpenFile{
			Name: fmt.Sprintf("f%d", i),
			Spec: &kind.Reg{Path: plantest.Text("/dev/null"), Flags: kind.Flags{Bits: unix.O_RDWR}},
		})
	}
	parent, n := tree.Root, 0
	for i := range tasks {
		task := &tasktree.Task{Name: fmt.Sprintf("t%d", i)}
		for j := range fds {
			task.FDs = append(task.FDs, tasktree.Descriptor{FD: base + j, File: plantest.Text(tree.Files[n%files].Name), Cloexec: true})
			n++
		}
		parent.Children = append(parent.Children, task)
		if chain {
			parent = task
		}
	}
	return tree
}

func countsOf(t *testing.T, tree *tasktree.Tree) counts {
	t.Helper()
	host := plan.Host{SoftFiles: 20_000, HardFiles: 20_000, Environ: []string{"PATH=/usr/bin:/bin"}, Cwd: "/"}
	p := plantest.Must(t)(planner.New(tree, host, plan.Options{}))
	c := counts{Tasks: len(p.Tasks), Messages: len(p.Messages)}
	ops, calls, pulls, installs := 0, 0, 0, 0
	for i := range p.Tasks {
		c.Descriptors += len(tree.Tasks()[i].FDs)
		for j := range p.Tasks[i].Ops {
			n := callsOfTask(&p.Tasks[i].Ops[j])
			ops, calls = ops+1, calls+n
			switch p.Tasks[i].Notes[j].Verb {
			case program.VerbPull:
				pulls += n
			case program.VerbInstall:
				installs += n
			default:
			}
		}
	}
	for j := range p.Prepare.Ops {
		c.RunnerCalls += callsOfRunner(&p.Prepare.Ops[j])
	}
	average := func(sum, n int) float64 { return math.Round(100*float64(sum)/float64(n)) / 100 }
	c.OpsTask, c.CallsTask, c.PullsTask = average(ops, c.Tasks), average(calls, c.Tasks), average(pulls, c.Tasks)
	c.InstallsFD = average(installs, c.Descriptors)
	c.PlanBytesOp = average(p.ArenaSize()-program.HeadSize, ops)
	c.AllocsTask = average(int(testing.AllocsPerRun(2, func() { plantest.Must(t)(planner.New(tree, host, plan.Options{})) })), c.Tasks)
	c.VerifyAllocsT = average(int(testing.AllocsPerRun(2, func() {
		if err := model.Verify(p); err != nil {
			t.Error(err)
		}
	})), c.Tasks)
	return c
}

// callsOfTask gives the system calls of an op, if nothing makes it try again.
func callsOfTask(op *program.Op) int {
	switch op.Kind {
	case program.OpPull:
		return 2 // setsockopt, recvmsg
	case program.OpStore:
		return 0
	case program.OpHold:
		return 3 // set_robust_list, munmap, ppoll
	default:
		return 1
	}
}

func callsOfRunner(op *program.Op) int {
	if op.Kind == program.OpFind {
		return 2 // stat, faccessat
	}
	return 1
}
