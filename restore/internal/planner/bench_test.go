package planner_test

import (
	"errors"
	"fmt"
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
	"regrow/tasktree/recipe"
)

var newFile = recipe.Call{Name: "eventfd2", Nr: unix.SYS_EVENTFD2, Args: []recipe.Arg{recipe.Int(0), recipe.Int(unix.EFD_CLOEXEC)}}

// syncs is a call that changes nothing.
func syncs(f recipe.Ref) recipe.Call {
	return recipe.Call{Name: "fsync", Nr: unix.SYS_FSYNC, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.FD(f)}}
}

// put has a step for a file at a number.
func put(f recipe.Ref, n int) func(recipe.BenchMaker) {
	return func(b recipe.BenchMaker) {
		at := b.Put(f, n)
		b.Call(syncs(at))
		b.Close(at)
	}
}

// planned plans files that one task has.
func planned(t *testing.T, host plan.Host, specs ...*plantest.Script) (*plan.Plan, error) {
	t.Helper()
	pos := tasktree.Pos{Line: 1, Col: 1}
	tree := &tasktree.Tree{Source: "bench.yaml", Root: &tasktree.Task{Name: "root", Pos: pos}}
	for i, s := range specs {
		if s.OnMake == nil {
			s.OnMake = func(m recipe.Maker) []recipe.Ref { return []recipe.Ref{m.FD(newFile)} }
		}
		name := fmt.Sprintf("f%d", i)
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: name, Pos: tasktree.Pos{Line: 10 + i, Col: 1}, Spec: s})
		tree.Root.FDs = append(tree.Root.FDs, tasktree.Descriptor{FD: i, File: plantest.Text(name), Pos: pos})
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	p, err := planner.New(tree, host, plan.Options{})
	if err == nil {
		if err := model.Verify(p); err != nil {
			t.Error(err)
		}
	}
	return p, err
}

// story gives the calls of the runner in their order, and those of a bench in place of
// its clone, without what every bench does.
func story(p *plan.Plan) string {
	var all []string
	for i := range p.Prepare.Ops {
		op := &p.Prepare.Ops[i]
		if op.Kind == program.OpAdd {
			continue
		}
		if op.Kind != program.OpBench {
			all = append(all, words.CallName(p, op, p.Prepare.Notes[i]))
			continue
		}
		var inside []string
		b := p.Benches[op.Args[0]]
		for j := range b.Ops {
			if name := words.CallName(p, &b.Ops[j], b.Notes[j]); name != "prctl(PR_SET_PDEATHSIG)" && name != "exit_group" && name != "store" {
				inside = append(inside, name)
			}
		}
		all = append(all, "["+strings.Join(inside, " ")+"]")
	}
	return strings.Join(all, " ")
}

// TestBenchesAreFew holds which steps one process makes, and that what needs their effect
// comes behind them.
func TestBenchesAreFew(t *testing.T) {
	bench := func(b recipe.Bench, steps func(m recipe.Maker) func(recipe.BenchMaker)) func(recipe.Maker) {
		return func(m recipe.Maker) { m.Bench(b, steps(m)) }
	}
	own := func(m recipe.Maker) func(recipe.BenchMaker) { return put(m.Own(0), 5) }
	first := func(m recipe.Maker) func(recipe.BenchMaker) { return put(m.Use("f0", 0), 5) }
	const steps = "dup3 fsync close"
	for name, c := range map[string]struct {
		specs []*plantest.Script
		want  string
	}{
		"none": {[]*plantest.Script{{}}, "eventfd2"},
		"the same settings": {
			[]*plantest.Script{{OnShape: bench(recipe.Bench{}, own)}, {OnShape: bench(recipe.Bench{}, own)}, {OnShape: bench(recipe.Bench{}, first)}},
			"eventfd2 eventfd2 eventfd2 [" + steps + " " + steps + " " + steps + "]",
		},
		"other settings": {
			[]*plantest.Script{{OnShape: bench(recipe.Bench{New: unix.CLONE_NEWNET}, own)}, {OnShape: bench(recipe.Bench{}, own)}, {OnShape: bench(recipe.Bench{New: unix.CLONE_NEWNET}, own)}},
			"eventfd2 eventfd2 eventfd2 [unshare " + steps + " " + steps + "] [" + steps + "]",
		},
		"other settings, for what another one works on": {
			[]*plantest.Script{{OnShape: bench(recipe.Bench{New: unix.CLONE_NEWNET}, own)}, {OnShape: bench(recipe.Bench{}, first)}, {OnShape: bench(recipe.Bench{New: unix.CLONE_NEWNET}, own)}},
			"eventfd2 eventfd2 eventfd2 [unshare " + steps + "] [" + steps + "] [unshare " + steps + "]",
		},
		"another user": {
			[]*plantest.Script{{OnShape: bench(recipe.Bench{As: &recipe.Credentials{UID: 1, GID: 2, Groups: []int{3}}}, own)}, {OnShape: bench(recipe.Bench{As: &recipe.Credentials{UID: 1, GID: 2, Groups: []int{4}}}, own)}},
			"eventfd2 eventfd2 [setgroups setresgid setresuid " + steps + "] [setgroups setresgid setresuid " + steps + "]",
		},
		"the recipe goes on": {
			[]*plantest.Script{
				{OnShape: bench(recipe.Bench{}, own)},
				{OnShape: func(m recipe.Maker) { m.Bench(recipe.Bench{}, own(m)); m.Call(syncs(m.Own(0))) }},
				{OnShape: bench(recipe.Bench{}, own)},
			},
			"eventfd2 eventfd2 eventfd2 [" + steps + " " + steps + "] fsync [" + steps + "]",
		},
		"another recipe uses the file": {
			[]*plantest.Script{{OnShape: bench(recipe.Bench{}, own)}, {OnShape: func(m recipe.Maker) { m.Call(syncs(m.Use("f0", 0))) }}},
			"eventfd2 eventfd2 [" + steps + "] fsync",
		},
		"another recipe uses nothing of it": {
			[]*plantest.Script{{OnShape: bench(recipe.Bench{}, own)}, {OnShape: func(m recipe.Maker) { m.Call(syncs(m.Own(0))) }}},
			"eventfd2 eventfd2 fsync [" + steps + "]",
		},
		"what a bench has made is used": {
			[]*plantest.Script{
				{OnMake: func(m recipe.Maker) (refs []recipe.Ref) {
					m.Bench(recipe.Bench{}, func(b recipe.BenchMaker) { refs = []recipe.Ref{b.FD(newFile)}; b.Give(refs...) })
					return refs
				}},
				{OnMake: func(m recipe.Maker) []recipe.Ref {
					own := m.FD(newFile)
					m.Call(syncs(m.Use("f0", 0)))
					m.Bench(recipe.Bench{}, put(own, 5))
					return []recipe.Ref{own}
				}, After: []string{"f0"}},
			},
			"eventfd2 socketpair [eventfd2 sendmsg] recvmsg close close fsync [" + steps + "]",
		},
		"what is left is closed behind it": {
			[]*plantest.Script{{OnMake: func(m recipe.Maker) []recipe.Ref {
				left, own := m.FD(newFile), m.FD(newFile)
				m.Bench(recipe.Bench{}, put(left, 5))
				return []recipe.Ref{own}
			}}},
			"eventfd2 eventfd2 [" + steps + "] close",
		},
		"what is kept is closed later": {
			[]*plantest.Script{{OnMake: func(m recipe.Maker) []recipe.Ref {
				a, b := m.Pair(recipe.Call{Name: "pipe2", Nr: unix.SYS_PIPE2, Args: []recipe.Arg{recipe.PairAt(), recipe.Int(unix.O_CLOEXEC)}})
				m.Keep(b, recipe.UntilReady)
				return []recipe.Ref{a}
			}}},
			"pipe2",
		},
		"what the recipe closes is closed once": {
			[]*plantest.Script{{OnMake: func(m recipe.Maker) []recipe.Ref {
				left := m.FD(newFile)
				m.Call(recipe.Call{Name: "close", Nr: unix.SYS_CLOSE, Effect: recipe.Closes, Args: []recipe.Arg{recipe.FD(left)}})
				return []recipe.Ref{m.FD(newFile)}
			}}},
			"eventfd2 close eventfd2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := planned(t, plantest.Host, c.specs...)
			if err != nil {
				t.Fatal(err)
			}
			if got := story(p); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestBenchOfManyTargets holds that a target costs its own three calls.
func TestBenchOfManyTargets(t *testing.T) {
	ops := func(n int) int {
		p, err := planned(t, plantest.Host, &plantest.Script{OnShape: func(m recipe.Maker) {
			for i := range n {
				m.Bench(recipe.Bench{}, put(m.Own(0), i))
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Benches) != 1 || len(p.Benches[0].Numbers) != n {
			t.Fatalf("%d benches for %d targets", len(p.Benches), n)
		}
		return len(p.Benches[0].Ops)
	}
	if one, many := ops(1), ops(1000); many-one != 3*999 {
		t.Errorf("1,000 targets take %d ops, and one %d", many, one)
	}
}

// TestBenchNumbers holds which numbers a bench can take.
func TestBenchNumbers(t *testing.T) {
	host := plantest.Host
	host.SoftFiles, host.HardFiles = 100, 200
	for n, want := range map[int]string{198: "[dup3 fsync close]", 199: "[prlimit64 dup3 fsync close]", 200: ""} {
		p, err := planned(t, host, &plantest.Script{OnShape: func(m recipe.Maker) {
			m.Bench(recipe.Bench{}, func(b recipe.BenchMaker) {
				b.At(tasktree.Pos{Line: 77, Col: 3})
				put(m.Own(0), n)(b)
			})
		}})
		if want != "" {
			if err != nil || !strings.HasSuffix(story(p), want) {
				t.Errorf("number %d: %v, want %s", n, err, want)
			}
			continue
		}
		refused, ok := errors.AsType[*plan.RefusedError](err)
		const msg = "bench.yaml:77:3: restore: number 200 cannot be taken: the hard RLIMIT_NOFILE is 200, so the highest number is 199 "
		if !ok || !strings.HasPrefix(refused.Error(), msg) {
			t.Errorf("number %d: %v", n, err)
		}
	}
}

// TestBenchMistakes holds that recipes which cannot be meant are found when they are
// written.
func TestBenchMistakes(t *testing.T) {
	for want, spec := range map[string]*plantest.Script{
		"takes numbers and makes files": {OnShape: func(m recipe.Maker) {
			m.Bench(recipe.Bench{}, func(b recipe.BenchMaker) { b.FD(newFile); b.Put(m.Own(0), 5) })
		}},
		"no pid namespace": {OnShape: func(m recipe.Maker) {
			m.Bench(recipe.Bench{New: unix.CLONE_NEWPID}, put(m.Own(0), 5))
		}},
		"supplementary groups": {OnShape: func(m recipe.Maker) {
			m.Bench(recipe.Bench{New: unix.CLONE_NEWUSER, As: &recipe.Credentials{Groups: []int{1}}}, put(m.Own(0), 5))
		}},
		"keeps what it has not made": {OnShape: func(m recipe.Maker) { m.Keep(m.Own(0), recipe.UntilReady) }},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
			}()
			_, _ = planned(t, plantest.Host, spec)
		}()
	}
}

// TestBenchIsOfTheRunner holds that a tree's namespaces are not those of its benches: they
// have ended before the root is there.
func TestBenchIsOfTheRunner(t *testing.T) {
	for _, namespaces := range [][]tasktree.Namespace{nil, {tasktree.NamespaceUser}, {tasktree.NamespaceUser, tasktree.NamespacePID}} {
		p := plantest.Must(t)(planner.New(plantest.Reference(t, t.TempDir(), namespaces...), plantest.Host, plan.Options{}))
		if len(p.Benches) == 0 {
			t.Fatal("no bench")
		}
		for _, b := range p.Benches {
			flags := program.WordsAt(p.Arena.Base, p.Arena.Data(), b.Clone, 1)[0]
			if flags != unix.CLONE_PIDFD|unix.CLONE_CLEAR_SIGHAND {
				t.Errorf("%v: a bench is made with the flags %#x", namespaces, flags)
			}
			if slices.ContainsFunc(b.Ops, func(op program.Op) bool { return op.Nr == unix.SYS_UNSHARE || op.Nr == unix.SYS_SETNS }) {
				t.Errorf("%v: a bench leaves the runner's namespaces", namespaces)
			}
		}
	}
}
