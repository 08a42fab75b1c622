package model_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// benchPlan has a bench that registers two targets of an epoll at one number, and one
// that gives a file back.
func benchPlan(t *testing.T) *plan.Plan {
	t.Helper()
	pos := tasktree.Pos{Line: 1, Col: 1}
	target := func(name string) plantest.Target {
		return plantest.Target{File: plantest.Text(name), FD: tasktree.Number{Value: 9, Pos: pos}}
	}
	tree := &tasktree.Tree{Source: "bench.yaml", Files: []*tasktree.OpenFile{
		{Name: "gone", Pos: pos, Spec: &plantest.Gone{Status: tasktree.Number{Value: 7, Pos: pos}}},
		{Name: "again", Pos: pos, Spec: &plantest.Gone{Status: tasktree.Number{Value: 8, Pos: pos}}},
		{Name: "epoll", Pos: pos, Spec: &plantest.Watch{Targets: []plantest.Target{target("gone"), target("again")}}},
	}, Root: &tasktree.Task{Name: "root", Pos: pos}}
	for i, f := range tree.Files {
		tree.Root.FDs = append(tree.Root.FDs, tasktree.Descriptor{FD: i, File: plantest.Text(f.Name), Pos: pos})
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	p := plantest.Must(t)(planner.New(tree, plantest.Host, plan.Options{}))
	if err := model.Verify(p); err != nil {
		t.Fatal(err)
	}
	if len(p.Benches) != 2 {
		t.Fatalf("%d benches", len(p.Benches))
	}
	return p
}

// The benches of benchPlan. The one that gives files back is needed by the other.
const (
	gives = iota
	puts
)

// altered gives a copy of a plan whose bench a test may change.
func altered(p *plan.Plan, bench int) (*plan.Plan, *plan.Bench) {
	q := *p
	q.Benches = slices.Clone(p.Benches)
	b := &q.Benches[bench]
	b.Ops, b.Notes, b.Numbers = slices.Clone(b.Ops), slices.Clone(b.Notes), slices.Clone(b.Numbers)
	q.Prepare.Ops, q.Prepare.Notes = slices.Clone(p.Prepare.Ops), slices.Clone(p.Prepare.Notes)
	return &q, b
}

// TestBenchOpsAreNeeded drops each op of a bench that changes what it has, or what comes
// back.
func TestBenchOpsAreNeeded(t *testing.T) {
	good := benchPlan(t)
	dropped := map[string]bool{}
	for n := range good.Benches {
		for i := range good.Benches[n].Ops {
			q, b := altered(good, n)
			op, name := b.Ops[i], words.OpName(&b.Ops[i])
			switch {
			case name == "prctl", name == "epoll_ctl", strings.HasPrefix(name, "syscall"):
				continue // nothing of the table
			case op.Nr == unix.SYS_CLOSE && b.Ops[i+1].Nr == unix.SYS_EXIT_GROUP:
				continue // its end closes that
			}
			dropped[name] = true
			b.Ops, b.Notes = slices.Delete(b.Ops, i, i+1), slices.Delete(b.Notes, i, i+1)
			if err := model.Verify(q); err == nil {
				t.Errorf("bench %d: dropping op %d (%s) is not noticed", n, i, name)
			}
		}
	}
	for _, name := range []string{"dup3", "close", "clone3", "exit_group", "exit_group(helper)", "wait4(helper)", "sendmsg", "store"} {
		if !dropped[name] {
			t.Errorf("no bench has %s", name)
		}
	}
}

// TestBenchRejects changes a good plan in ways that the kernel would not refuse, or not
// each time.
func TestBenchRejects(t *testing.T) {
	good := benchPlan(t)
	find := func(prog *program.Program, is func(op *program.Op) bool) int {
		i := slices.IndexFunc(prog.Ops, func(op program.Op) bool { return is(&op) })
		if i < 0 {
			t.Fatal("no such op")
		}
		return i
	}
	calls := func(nr uint32) func(*program.Op) bool {
		return func(op *program.Op) bool { return op.Kind == program.OpCall && op.Nr == nr }
	}
	for _, c := range []struct {
		name  string
		bench int
		alter func(q *plan.Plan, b *plan.Bench)
		want  string
	}{
		{"a call that nobody has thought of", puts, func(_ *plan.Plan, b *plan.Bench) {
			b.Notes[find(&b.Program, calls(unix.SYS_EPOLL_CTL))].Effect = program.EffectUndeclared
		}, "nobody has declared what the call changes"},
		{"a call that is declared to be what it is not", puts, func(_ *plan.Plan, b *plan.Bench) {
			b.Notes[find(&b.Program, calls(unix.SYS_DUP3))].Effect = program.EffectNothing
		}, "declared to have effect"},
		{"a call of a task's", puts, func(_ *plan.Plan, b *plan.Bench) {
			i := find(&b.Program, calls(unix.SYS_EPOLL_CTL))
			b.Ops[i].Nr, b.Notes[i].Effect = unix.SYS_EXECVE, program.EffectBecomes
		}, "cannot make a call with the effect"},
		{"an op of a task's", puts, func(_ *plan.Plan, b *plan.Bench) {
			b.Ops[find(&b.Program, calls(unix.SYS_EPOLL_CTL))].Kind = program.OpGate
		}, "a bench cannot do it"},
		{"a number that the runner does not keep free", puts, func(_ *plan.Plan, b *plan.Bench) { b.Numbers = nil }, "not among those that the runner keeps free"},
		{"a number above the limit", puts, func(q *plan.Plan, _ *plan.Bench) { q.Host.HardFiles = 9 }, "not below the limit of 9"},
		{"a number that is free", puts, func(_ *plan.Plan, b *plan.Bench) {
			b.Ops[find(&b.Program, calls(unix.SYS_EPOLL_CTL))].Args[2] = 10
		}, "number 10 is free"},
		{"a number that may be that of a file which the bench has made", gives, func(_ *plan.Plan, b *plan.Bench) {
			i := find(&b.Program, calls(unix.SYS_PIDFD_OPEN))
			op, note := b.Ops[i], b.Notes[i]
			note.Effect, note.Extra = program.EffectReplaces, 0
			op.Nr, op.Args, op.Modes, op.Out = unix.SYS_DUP3, [6]uint64{uint64(b.Ops[i].Out), 9}, uint32(program.ModeSlot), program.NoSlot
			b.Ops, b.Notes, b.Numbers = slices.Insert(b.Ops, i+1, op), slices.Insert(b.Notes, i+1, note), []int{9}
		}, "may be that of the open file"},
		{"a file that is not taken back", gives, func(q *plan.Plan, _ *plan.Bench) {
			i := find(&q.Prepare, func(op *program.Op) bool { return op.Kind == program.OpReceive })
			q.Prepare.Ops, q.Prepare.Notes = slices.Delete(q.Prepare.Ops, i, i+1), slices.Delete(q.Prepare.Notes, i, i+1)
		}, "is not there"},
		{"a file that is not given back", gives, func(_ *plan.Plan, b *plan.Bench) {
			i := find(&b.Program, calls(unix.SYS_SENDMSG))
			b.Ops, b.Notes = slices.Delete(b.Ops, i, i+1), slices.Delete(b.Notes, i, i+1)
		}, "no bench has sent anything"},
		{"another file than the one that is given back", gives, func(_ *plan.Plan, b *plan.Bench) {
			stores := func(op *program.Op) bool { return op.Kind == program.OpStore }
			first := find(&b.Program, stores)
			b.Ops[first].Args[0], b.Ops[first+1].Args[0] = b.Ops[first+1].Args[0], b.Ops[first].Args[0]
		}, "of the message is #"},
		{"a child that nobody waits for", gives, func(_ *plan.Plan, b *plan.Bench) {
			i := find(&b.Program, func(op *program.Op) bool { return op.Kind == program.OpReap })
			b.Ops, b.Notes = slices.Delete(b.Ops, i, i+1), slices.Delete(b.Notes, i, i+1)
		}, "1 children were not waited for"},
		{"the pid of a child that was waited for", gives, func(_ *plan.Plan, b *plan.Bench) {
			open := find(&b.Program, calls(unix.SYS_PIDFD_OPEN))
			b.Ops[open], b.Ops[open+1] = b.Ops[open+1], b.Ops[open]
			b.Notes[open], b.Notes[open+1] = b.Notes[open+1], b.Notes[open]
		}, "it may be another one's"},
		{"a child that does not end", gives, func(_ *plan.Plan, b *plan.Bench) {
			b.Ops[find(&b.Program, func(op *program.Op) bool { return op.Kind == program.OpEnd })].Kind = program.OpStore
		}, "the child does not end"},
		{"a name that is not undone", gives, func(_ *plan.Plan, b *plan.Bench) {
			b.Ops[find(&b.Program, calls(unix.SYS_PIDFD_OPEN))].Flags |= program.FlagUndo
		}, "nobody learns that it has made a name"},
		{"a bench that does not end", puts, func(_ *plan.Plan, b *plan.Bench) {
			n := len(b.Ops) - 1
			b.Ops, b.Notes = b.Ops[:n], b.Notes[:n]
		}, "has no end"},
		{"a bench that is not started", puts, func(q *plan.Plan, _ *plan.Bench) {
			i := find(&q.Prepare, func(op *program.Op) bool { return op.Kind == program.OpBench && op.Args[0] == uint64(puts) })
			q.Prepare.Ops, q.Prepare.Notes = slices.Delete(q.Prepare.Ops, i, i+1), slices.Delete(q.Prepare.Notes, i, i+1)
		}, "starts 1 of 2 benches"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, b := altered(good, c.bench)
			c.alter(q, b)
			if err := model.Verify(q); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestKeptIsClosedOnce closes what the runner keeps before it uses it.
func TestKeptIsClosedOnce(t *testing.T) {
	p := plantest.Must(t)(planner.New(plantest.Reference(t, t.TempDir()), plantest.Host, plan.Options{}))
	q, _ := altered(p, 0)
	if q.Commit.Ops[0].Nr != unix.SYS_CLOSE {
		t.Fatal("nothing is kept until all are ready")
	}
	q.Prepare.Ops, q.Prepare.Notes = append(q.Prepare.Ops, q.Commit.Ops[0]), append(q.Prepare.Notes, q.Commit.Notes[0])
	if err := model.Verify(q); err == nil || !strings.Contains(err.Error(), "which is not there") {
		t.Errorf("closed twice: %v", err)
	}
}
