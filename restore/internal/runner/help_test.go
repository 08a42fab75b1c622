package runner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// crowd has a root with many children.
func crowd(t testing.TB, children int) *tasktree.Tree {
	t.Helper()
	tree := &tasktree.Tree{Source: "crowd.yaml", Root: &tasktree.Task{Name: "root", Pos: tasktree.Pos{Line: 1, Col: 1}}}
	for i := range children {
		tree.Root.Children = append(tree.Root.Children, &tasktree.Task{Name: fmt.Sprintf("t%d", i), Pos: tasktree.Pos{Line: 2 + i, Col: 1}})
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}

// TestHelpers looks at how a root shares its forks: every child is forked once, and
// there are never more processes at a time than tasks.
func TestHelpers(t *testing.T) {
	for _, c := range []struct{ children, processors, helpers int }{
		{children: 1000, processors: 0},
		{children: 1000, processors: 1},
		{children: 31, processors: 8},
		{children: 32, processors: 8, helpers: 1},
		{children: 1000, processors: 2, helpers: 1},
		{children: 1000, processors: 4, helpers: 3},
		{children: 1000, processors: 64, helpers: 7},
	} {
		t.Run(fmt.Sprintf("%d children, %d processors", c.children, c.processors), func(t *testing.T) {
			here := plantest.Host
			here.Processors = c.processors
			p := plantest.Must(t)(planner.New(crowd(t, c.children), here, plan.Options{}))
			if err := model.Verify(p); err != nil {
				t.Fatal(err)
			}
			processes, most, helpers := 1, 1, 0 // if all of a helper's part is done as soon as it can be
			for i := range p.Tasks[0].Ops {
				switch p.Tasks[0].Ops[i].Kind {
				case program.OpFork:
					processes++
				case program.OpHelp:
					processes++
					helpers++
				case program.OpReap:
					processes--
				default:
				}
				most = max(most, processes)
			}
			if helpers != c.helpers || processes != 1+c.children || most > 1+c.children {
				t.Errorf("%d helpers, %d processes in the end, %d at a time; want %d, and %d", helpers, processes, most, c.helpers, 1+c.children)
			}
		})
	}
}

// TestNoHelpers holds that pids which are exact, or count from 1, stay so.
func TestNoHelpers(t *testing.T) {
	here := plantest.Host
	here.Processors = 8
	exact, namespace := crowd(t, 100), crowd(t, 100)
	exact.Root.Children[50].PID = tasktree.Number{Value: 4711, Pos: tasktree.Pos{Line: 52, Col: 1}}
	namespace.Namespaces = []tasktree.NamespaceItem{{Name: tasktree.NamespacePID, Pos: tasktree.Pos{Line: 1, Col: 1}}}
	for name, tree := range map[string]*tasktree.Tree{"exact": exact, "namespace": namespace} {
		if problems := tree.Check(); len(problems) > 0 {
			t.Fatal(problems)
		}
		p := plantest.Must(t)(planner.New(tree, here, plan.Options{}))
		if slices.ContainsFunc(p.Tasks[0].Ops, func(op program.Op) bool { return op.Kind == program.OpHelp }) {
			t.Errorf("%s: the root has a helper", name)
		}
	}
}

// helped gives a plan of a root with three helpers, and its OpHelps.
func helped(t *testing.T, oldClone bool) (*plan.Plan, []int) {
	t.Helper()
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	here.OldClone = oldClone
	p, err := planner.New(crowd(t, 40), here, plan.Options{Help: 3})
	if err != nil {
		t.Fatal(err)
	}
	var helps []int
	for i := range p.Tasks[0].Ops {
		if p.Tasks[0].Ops[i].Kind == program.OpHelp {
			helps = append(helps, i)
		}
	}
	if len(helps) != 3 {
		t.Fatalf("%d helpers", len(helps))
	}
	return p, helps
}

// TestHelperEnds lets a helper end before it has done its part: the restore fails
// and says so.
func TestHelperEnds(t *testing.T) {
	p, helps := helped(t, false)
	p.Faulty = true
	op := &p.Tasks[0].Ops[helps[1]+5]
	*op = program.Op{Kind: program.OpCall, Nr: unix.SYS_EXIT_GROUP, Args: [6]uint64{3}}
	tree, err := startNow(t.Context(), p, Options{Timeout: patience})
	if err == nil {
		tree.Abort()
		t.Fatal("the restore went well")
	}
	if want := `crowd.yaml:1:1: restore: task "root"`; !strings.HasPrefix(err.Error(), want) || !errors.Is(err, plan.ErrTaskDied) || !strings.Contains(err.Error(), "wait4(helper): died before release (a fork helper of the task was killed)") {
		t.Error(err)
	}
	if left := proc.OwnChildren(); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// TestHelpModel spoils how a root is helped: the model does not accept it.
func TestHelpModel(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(ops []program.Op, help int)
		want  string
	}{
		{"its part does not end", func(ops []program.Op, help int) { ops[help].Args[2]-- }, "has no end"},
		{"it closes", func(ops []program.Op, help int) {
			ops[help+2] = program.Op{Kind: program.OpCall, Nr: unix.SYS_CLOSE}
		}, "a helper shall do op close"},
		{"it chooses pids", func(ops []program.Op, help int) { ops[help+1].Flags |= program.FlagWant }, "a helper shall do op clone3"},
		{"the task goes on beside it", func(ops []program.Op, help int) {
			reap := slices.IndexFunc(ops, func(op program.Op) bool { return op.Kind == program.OpReap })
			ops[reap] = program.Op{Kind: program.OpEnd}
		}, "1 helpers still work"},
		{"another is waited for", func(ops []program.Op, help int) {
			reap := slices.IndexFunc(ops, func(op program.Op) bool { return op.Kind == program.OpReap })
			ops[reap].Args[0] = ops[reap+1].Args[0]
		}, "no working helper has its pid at"},
		{"two have one record", func(ops []program.Op, help int) {
			second := help + 1 + slices.IndexFunc(ops[help+1:], func(op program.Op) bool { return op.Kind == program.OpHelp })
			ops[second].Args[1] = ops[help].Args[1]
		}, "is not this helper's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, helps := helped(t, false)
			if err := model.Verify(p); err != nil {
				t.Fatal(err)
			}
			c.spoil(p.Tasks[0].Ops, helps[0])
			if err := model.Verify(p); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestHelpersByClone makes helpers and tasks by either call, and by the task alone
// where no helper can be made.
func TestHelpersByClone(t *testing.T) {
	for _, c := range []struct {
		name           string
		old, noHelpers bool
	}{{name: "clone3"}, {name: "clone", old: true}, {name: "no helpers", noHelpers: true}, {name: "no helpers by clone", old: true, noHelpers: true}} {
		t.Run(c.name, func(t *testing.T) {
			p, helps := helped(t, c.old)
			for _, i := range helps {
				if c.noHelpers { // flags that the kernel refuses together
					at := p.Tasks[0].Ops[i].Args[0] - p.Arena.Base
					binary.NativeEndian.PutUint64(p.Arena.Data()[at:], unix.CLONE_NEWNS|unix.CLONE_FS)
				}
			}
			tree, err := startNow(t.Context(), p, Options{Timeout: patience})
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Abort()
			if n := len(proc.Descendants(tree.root)); n != 40 {
				t.Errorf("the root has %d children, want 40", n)
			}
		})
	}
}
