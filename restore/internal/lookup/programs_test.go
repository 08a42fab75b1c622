package lookup_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"regrow/restore/internal/lookup"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// TestPlaces counts the places of programs: a folder that is twice in PATH is one place, tasks
// with the same program and PATH share their places, and more than MaxPlaces are refused.
func TestPlaces(t *testing.T) {
	// planned returns the places of each task's program, or the planner's error.
	planned := func(folders []string, programs ...string) ([]uint64, error) {
		tree := &tasktree.Tree{Source: "places.yaml", Root: &tasktree.Task{Name: "root", Pos: tasktree.Pos{Line: 1, Col: 1}}}
		for i, name := range programs {
			run := plantest.Text(name)
			run.Pos = tasktree.Pos{Line: 2 + i, Col: 7}
			tree.Root.Children = append(tree.Root.Children, &tasktree.Task{Name: fmt.Sprintf("t%d", i), Pos: run.Pos, Run: []tasktree.Text{run}})
		}
		if problems := tree.Check(); len(problems) > 0 {
			t.Fatal(problems)
		}
		p, err := planner.New(tree, plan.Host{SoftFiles: 64, HardFiles: 64, Environ: []string{"PATH=" + strings.Join(folders, ":")}, Cwd: "/"}, plan.Options{})
		if err != nil {
			return nil, err
		}
		var counts []uint64
		for _, op := range p.Prepare.Ops {
			if op.Kind == program.OpFind {
				counts = append(counts, op.Args[1])
			}
		}
		return counts, nil
	}
	counts, err := planned([]string{"/a", "/b", "/a", "c", "/b"}, "x", "x", "y", "/bin/x")
	if err != nil || !slices.Equal(counts, []uint64{3, 3, 3, 1}) {
		t.Errorf("places %v, %v, want 3 3 3 1", counts, err)
	}
	const programs = 1000
	folders, names := make([]string, lookup.MaxPlaces/programs), make([]string, programs, programs+1)
	for i := range folders {
		folders[i] = fmt.Sprintf("/%d", i)
	}
	for i := range names {
		names[i] = fmt.Sprintf("x%d", i)
	}
	// Exactly MaxPlaces, with one program twice.
	if _, err := planned(folders, append(names, "x0")...); err != nil {
		t.Error(err)
	}
	const want = `places.yaml:1002:7: restore: task "t1000": its program "more" is looked up in the folders of PATH, and all programs together have more than 500000 places `
	_, err = planned(folders, append(names, "more")...)
	if _, ok := errors.AsType[*plan.RefusedError](err); !ok || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
