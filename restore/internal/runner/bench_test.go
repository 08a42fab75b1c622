package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
)

// places gives every part of a tree a place of its own.
type places struct{ line int }

func (p *places) at() tasktree.Pos { p.line++; return tasktree.Pos{Line: p.line, Col: 1} }

func (p *places) text(s string) tasktree.Text { return tasktree.Text{Value: s, Pos: p.at()} }

func (p *places) number(n int) tasktree.Number {
	return tasktree.Number{Value: int64(n), Pos: p.at()}
}

// restored plans a tree and restores it.
func restored(t *testing.T, tree *tasktree.Tree) (*plan.Plan, *Tree, proc.ID) {
	t.Helper()
	return restoredBy(t, false, tree)
}

// restoredBy does so by clone(2), if one wants, in place of clone3(2).
func restoredBy(t *testing.T, oldClone bool, tree *tasktree.Tree) (*plan.Plan, *Tree, proc.ID) {
	t.Helper()
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	here.OldClone = here.OldClone || oldClone
	p, err := planner.New(tree, here, plan.Options{Detach: true})
	if err != nil {
		t.Fatal(err)
	}
	live, err := startNow(t.Context(), p, Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(live.Abort)
	root, err := proc.Of(live.RootPID())
	if err != nil {
		t.Fatal(err)
	}
	return p, live, root
}

func readFDInfo(t *testing.T, pid, fd int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// targets reads the lines of an epoll's targets, by number and data.
func targets(t *testing.T, pid, fd int) (found []string) {
	t.Helper()
	text := readFDInfo(t, pid, fd)
	for line := range strings.Lines(text) {
		var number, events, data uint64
		if n, _ := fmt.Sscanf(line, "tfd: %d events: %x data: %x", &number, &events, &data); n == 3 {
			found = append(found, fmt.Sprintf("%d:%d", number, data))
		}
	}
	slices.Sort(found)
	return found
}

// TestBenchWatches registers targets of an epoll by numbers that no task has, one twice,
// and one where the runner itself has something else: the kernel tells so from outside,
// and the events arrive.
func TestBenchWatches(t *testing.T) {
	var p places
	busy, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0) // the runner's own
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(busy)
	const one, two, three, epoll = 11, 12, 13, 14 // numbers in the root
	box := func(name, holds string) *tasktree.OpenFile {
		return &tasktree.OpenFile{Name: name, Pos: p.at(), Spec: &plantest.Mailbox{Path: p.text(filepath.Join(t.TempDir(), name)), Text: p.text(name), Holds: p.text(holds)}}
	}
	tree := &tasktree.Tree{Source: "tree.yaml", Files: []*tasktree.OpenFile{
		{Name: "null", Pos: p.at(), Spec: &kind.Reg{Path: p.text("/dev/null")}},
		box("one", "null"), box("two", "null"), box("three", "null"),
		{Name: "epoll", Pos: p.at(), Spec: &plantest.Watch{Targets: []plantest.Target{
			{File: p.text("one"), FD: p.number(busy), Data: 1},
			{File: p.text("two"), FD: p.number(7000), Data: 2},
			{File: p.text("three"), FD: p.number(7000), Data: 3}, // the number was closed, and is used again
			{File: p.text("one"), FD: p.number(one), Data: 4},
			{File: p.text("one"), FD: p.number(0), Data: 5},
		}}},
	}, Root: &tasktree.Task{Name: "root", Pos: p.at()}}
	for fd, name := range map[int]string{one: "one", two: "two", three: "three", epoll: "epoll"} {
		tree.Root.FDs = append(tree.Root.FDs, tasktree.Descriptor{FD: fd, File: p.text(name), Pos: p.at()})
	}
	planned, live, root := restored(t, tree)
	if n := len(planned.Benches); n != 1 {
		t.Errorf("%d benches", n)
	}
	want := []string{"0:5", fmt.Sprintf("%d:1", busy), fmt.Sprintf("%d:4", one), "7000:2", "7000:3"}
	slices.Sort(want)
	if got := targets(t, live.RootPID(), epoll); !slices.Equal(got, want) {
		t.Errorf("targets %q, want %q", got, want)
	}
	if _, err := unix.FcntlInt(uintptr(busy), unix.F_GETFD, 0); err != nil {
		t.Errorf("the runner's own descriptor: %v", err)
	}
	mine, err := proc.CopyFD(root, epoll)
	if err != nil {
		t.Skipf("pidfd_getfd: %v", err)
	}
	defer unix.Close(mine)
	arrive := func(want ...int32) {
		t.Helper()
		events := make([]unix.EpollEvent, 10)
		n, err := unix.EpollWait(mine, events, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []int32
		for _, e := range events[:n] {
			got = append(got, e.Fd) // the low half of its data
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	}
	arrive(1, 2, 3, 4, 5) // a letter waits in each box
	box1, err := proc.CopyFD(root, one)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(box1)
	if _, _, err := unix.Recvfrom(box1, make([]byte, 10), unix.MSG_DONTWAIT); err != nil {
		t.Fatal(err)
	}
	arrive(2, 3)
}

// TestBenchGone makes a pidfd of a process that has ended with a status.
func TestBenchGone(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("clone(2) %v", old), func(t *testing.T) { benchGone(t, old) })
	}
}

func benchGone(t *testing.T, oldClone bool) {
	t.Helper()
	var p places
	const status, gone = 7, 5
	before := proc.OwnChildren()
	_, live, root := restoredBy(t, oldClone, &tasktree.Tree{
		Source: "tree.yaml",
		Files:  []*tasktree.OpenFile{{Name: "gone", Pos: p.at(), Spec: &plantest.Gone{Status: p.number(status)}}},
		Root:   &tasktree.Task{Name: "root", Pos: p.at(), FDs: []tasktree.Descriptor{{FD: gone, File: p.text("gone"), Pos: p.at()}}},
	})
	if text := readFDInfo(t, live.RootPID(), gone); !strings.Contains(text, "\nPid:\t-1\n") {
		t.Errorf("fdinfo: %q", text)
	}
	if after := proc.OwnChildren(); len(after) != len(before)+1 {
		t.Errorf("children %v, before %v", after, before)
	}
	mine, err := proc.CopyFD(root, gone)
	if err != nil {
		t.Skipf("pidfd_getfd: %v", err)
	}
	defer unix.Close(mine)
	if !proc.Ended(mine, 0) {
		t.Error("the process has not ended")
	}
	if code, err := exitCode(mine); err == nil && code != status<<8 {
		t.Errorf("it ended with the status %#x", code)
	} else if err != nil {
		t.Logf("the kernel does not tell the status: %v", err)
	}
}

// TestKept looks at what the runner keeps: an eventfd that an epoll watches as long as
// anybody has it.
func TestKept(t *testing.T) {
	const epoll, number = 5, 900
	for until, kept := range map[recipe.Until]bool{recipe.UntilStored: false, recipe.UntilReady: true, recipe.UntilReleased: true} {
		var p places
		tree := &tasktree.Tree{
			Source: "tree.yaml",
			Files:  []*tasktree.OpenFile{{Name: "epoll", Pos: p.at(), Spec: &plantest.Watch{Kept: p.number(number), Until: until}}},
			Root:   &tasktree.Task{Name: "root", Pos: p.at(), FDs: []tasktree.Descriptor{{FD: epoll, File: p.text("epoll"), Pos: p.at()}}},
		}
		_, live, _ := restored(t, tree)
		if got := targets(t, live.RootPID(), epoll); len(got) > 0 {
			t.Errorf("until %d: after the release the epoll watches %q", until, got)
		}
		live.Abort()
		here, err := host.ThisHost()
		if err != nil {
			t.Fatal(err)
		}
		planned, err := planner.New(tree, here, plan.Options{Detach: true})
		if err != nil {
			t.Fatal(err)
		}
		ready := Options{Timeout: patience, Ready: func(v plan.View) error {
			if got := targets(t, v.PIDs[0], epoll); (len(got) > 0) != kept {
				t.Errorf("until %d: before the release the epoll watches %q", until, got)
			}
			return nil
		}}
		if _, err := startNow(t.Context(), planned, ready); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBenchSettings looks at what benches with other settings have made.
func TestBenchSettings(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	memory := recipe.Call{Name: "memfd_create", Nr: unix.SYS_MEMFD_CREATE, Args: []recipe.Arg{recipe.Data([]byte("x\x00")), recipe.Int(unix.MFD_CLOEXEC)}}
	open := func(path string, flags int) recipe.Call {
		return recipe.Call{Name: "openat", Nr: unix.SYS_OPENAT, Args: []recipe.Arg{recipe.Int(unix.AT_FDCWD), recipe.Data([]byte(path + "\x00")), recipe.Int(int64(flags | unix.O_CLOEXEC))}}
	}
	calls := []recipe.Call{memory, open("/proc/thread-self/ns/net", unix.O_RDONLY), open(".", unix.O_PATH|unix.O_DIRECTORY)}
	var own [3]unix.Stat_t // uid and gid, network namespace, folder
	own[0].Uid, own[0].Gid = uint32(os.Geteuid()), uint32(os.Getegid())
	for i, path := range []string{1: "/proc/self/ns/net", 2: "."} {
		if path == "" {
			continue
		}
		if err := unix.Stat(path, &own[i]); err != nil {
			t.Fatal(err)
		}
	}
	nobody := recipe.Credentials{UID: 65534, GID: 65533, Groups: []int{7}}
	for name, bench := range map[string]recipe.Bench{
		"none":                   {},
		"folder":                 {Cwd: dir},
		"user":                   {As: &nobody},
		"network":                {New: unix.CLONE_NEWNET},
		"user namespace":         {New: unix.CLONE_NEWUSER | unix.CLONE_NEWNET},
		"user of a namespace":    {New: unix.CLONE_NEWUSER, As: &recipe.Credentials{}},
		"folder of another user": {Cwd: dir, New: unix.CLONE_NEWNET, As: &nobody},
	} {
		t.Run(name, func(t *testing.T) {
			inUser := bench.New&unix.CLONE_NEWUSER != 0
			if os.Geteuid() != 0 && (bench.As != nil || bench.New != 0) && !inUser {
				t.Skip("needs root")
			}
			if inUser {
				here, err := host.ThisHost()
				if err != nil {
					t.Fatal(err)
				}
				if err := host.ThisKernel.Clone(here, []tasktree.Namespace{tasktree.NamespaceUser}); err != nil {
					t.Skipf("user namespaces: %v", err)
				}
			}
			var p places
			tree := &tasktree.Tree{Source: "tree.yaml", Root: &tasktree.Task{Name: "root", Pos: p.at()}}
			for i, c := range calls {
				name := fmt.Sprintf("f%d", i)
				tree.Files = append(tree.Files, &tasktree.OpenFile{Name: name, Pos: p.at(), Spec: &plantest.Script{
					OnMake: func(m recipe.Maker) (refs []recipe.Ref) {
						m.Bench(bench, func(b recipe.BenchMaker) {
							refs = []recipe.Ref{b.FD(c)}
							b.Give(refs...)
						})
						return refs
					},
				}})
				tree.Root.FDs = append(tree.Root.FDs, tasktree.Descriptor{FD: i, File: p.text(name), Pos: p.at()})
			}
			planned, live, _ := restored(t, tree)
			if n := len(planned.Benches); n != 1 {
				t.Errorf("%d benches", n)
			}
			var got [3]unix.Stat_t
			for i := range got {
				if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", live.RootPID(), i), &got[i]); err != nil {
					t.Fatal(err)
				}
			}
			uid, gid := own[0].Uid, own[0].Gid
			if bench.As == &nobody {
				uid, gid = uint32(nobody.UID), uint32(nobody.GID)
			}
			if got[0].Uid != uid || got[0].Gid != gid {
				t.Errorf("made by user %d of group %d, want %d of %d", got[0].Uid, got[0].Gid, uid, gid)
			}
			if other := got[1].Ino != own[1].Ino; other != (bench.New&unix.CLONE_NEWNET != 0) {
				t.Errorf("made in another network namespace: %v", other)
			}
			folder := own[2]
			if bench.Cwd != "" {
				if err := unix.Stat(bench.Cwd, &folder); err != nil {
					t.Fatal(err)
				}
			}
			if got[2].Ino != folder.Ino || got[2].Dev != folder.Dev {
				t.Errorf("made in another folder")
			}
		})
	}
}

// TestBenchIsTraced looks for the lane of a bench, with a step of a recipe.
func TestBenchIsTraced(t *testing.T) {
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	planned := plantest.Must(t)(planner.New(plantest.Reference(t, t.TempDir()), here, plan.Options{}))
	var out bytes.Buffer
	live, err := startNow(t.Context(), planned, Options{Timeout: patience, Trace: &out})
	if err != nil {
		t.Fatal(err)
	}
	live.Abort()
	var trace struct {
		Events []struct {
			Name string `json:"name"`
			Lane int    `json:"tid"`
			Args struct{ Name, Line string }
		} `json:"traceEvents"`
	}
	if err := json.Unmarshal(out.Bytes(), &trace); err != nil {
		t.Fatal(err)
	}
	lane, steps := -1, 0
	for _, e := range trace.Events {
		switch {
		case strings.HasPrefix(e.Args.Name, "bench 0 (pid "):
			lane = e.Lane
		case e.Lane == lane && e.Name == "epoll_ctl(EPOLL_CTL_ADD)" && strings.Contains(e.Args.Line, "tree.yaml:"):
			steps++
		}
	}
	if steps != 1 {
		t.Errorf("lane %d of bench 0 has %d times its step", lane, steps)
	}
}

// stuckTree is a tree whose bench waits for ever, with a child that has ended.
func stuckTree(p *places) *tasktree.Tree {
	read := func(f recipe.Ref) recipe.Call {
		return recipe.Call{Name: "read", Nr: unix.SYS_READ, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.FD(f), recipe.Data([]byte{0}), recipe.Int(1)}}
	}
	return &tasktree.Tree{Source: "tree.yaml", Files: []*tasktree.OpenFile{{Name: "p", Pos: p.at(), Spec: &plantest.Script{
		OnMake: func(m recipe.Maker) []recipe.Ref {
			r, w := m.Pair(recipe.Call{Name: "pipe2", Nr: unix.SYS_PIPE2, Args: []recipe.Arg{recipe.PairAt(), recipe.Int(unix.O_CLOEXEC)}})
			m.Keep(w, recipe.UntilReleased)
			m.Bench(recipe.Bench{}, func(b recipe.BenchMaker) {
				child := b.Child(3)
				b.Call(read(r))
				b.Reap(child)
			})
			return []recipe.Ref{r}
		},
	}}}, Root: &tasktree.Task{Name: "root", Pos: p.at(), FDs: []tasktree.Descriptor{{FD: 0, File: p.text("p"), Pos: p.at()}}}}
}

// stuckBench waits until a child of a process has a child that has ended: it is the
// bench, which waits, or is about to.
func stuckBench(t *testing.T, of proc.ID) proc.ID {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		all, _ := proc.Children(of)
		for _, c := range all {
			below, _ := proc.Children(c.ID)
			if len(below) == 1 && below[0].Ended() {
				return c.ID
			}
		}
	}
	t.Fatal("there is no bench")
	return proc.ID{}
}

// TestBenchIsEnded ends a bench that waits for ever: because the restore is given up, and
// from outside. Nothing is left, and its child, which nobody has waited for, neither.
func TestBenchIsEnded(t *testing.T) {
	var p places
	tree := stuckTree(&p)
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	planned := plantest.Must(t)(planner.New(tree, here, plan.Options{}))
	self, err := proc.Self()
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, t.TempDir())
	for name, end := range map[string]func(bench proc.ID, cancel func()){
		plan.ErrCanceled.Error(): func(_ proc.ID, cancel func()) { cancel() },
		`tree.yaml:1:1: restore: task "root": a bench for file "p": clone3: the process that makes it was killed from outside (killed)`: func(bench proc.ID, _ func()) {
			if err := bench.Signal(unix.SIGKILL); err != nil {
				t.Error(err)
			}
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			live, err := startNow(ctx, planned, Options{Timeout: patience})
			if err == nil {
				live.Abort()
			}
			failed <- err
		}()
		end(stuckBench(t, self), cancel)
		if err := <-failed; err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s", err, name)
		}
		cancel()
		// A restore that is given up does not wait longer than a moment.
		for deadline := time.Now().Add(patience); snapshot(t, t.TempDir()) != before && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		}
		if after := snapshot(t, t.TempDir()); after != before {
			t.Errorf("%s: left behind, before:\n%s\nafter:\n%s", name, before, after)
		}
	}
}

// TestBenchChildKilled has a child end otherwise than it should, as if somebody had killed
// it.
func TestBenchChildKilled(t *testing.T) {
	var p places
	tree := &tasktree.Tree{
		Source: "tree.yaml",
		Files:  []*tasktree.OpenFile{{Name: "gone", Pos: p.at(), Spec: &plantest.Gone{Status: p.number(7)}}},
		Root:   &tasktree.Task{Name: "root", Pos: p.at(), FDs: []tasktree.Descriptor{{FD: 0, File: p.text("gone"), Pos: p.at()}}},
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	planned := plantest.Must(t)(planner.New(tree, here, plan.Options{}))
	ops := planned.Benches[0].Ops
	ops[slices.IndexFunc(ops, func(op program.Op) bool { return op.Kind == program.OpEnd })].Args[0]++
	planned.Faulty = true
	live, err := startNow(t.Context(), planned, Options{Timeout: patience})
	if err == nil {
		live.Abort()
		t.Fatal("the restore went well")
	}
	const want = `tree.yaml:2:1: restore: task "root": make file "gone": wait4(child): died before release (a process that should have ended by itself was killed)`
	if err.Error() != want || !errors.Is(err, plan.ErrTaskDied) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if left := proc.OwnChildren(); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

const killedEnv = "REGROW_TEST_BENCH_KILLED"

// TestBenchEndsWithRunner kills a process while its bench waits for ever.
func TestBenchEndsWithRunner(t *testing.T) {
	if os.Getenv(killedEnv) != "" {
		var p places
		restored(t, stuckTree(&p))
		t.Fatal("it was restored")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestBenchEndsWithRunner$")
	cmd.Env = append(os.Environ(), killedEnv+"=1", "GOCOVERDIR="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	runner, err := proc.Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	bench := stuckBench(t, runner)
	pidfd, err := unix.PidfdOpen(bench.PID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := false
	for deadline := time.Now().Add(patience); !ended && time.Now().Before(deadline); {
		ended = proc.Ended(pidfd, time.Second) // a signal may make it shorter
	}
	if !ended {
		t.Error("the bench outlives the process that it works for")
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	}
}

// eventfd is a recipe of an eventfd.
func eventfd(m recipe.Maker) []recipe.Ref {
	return []recipe.Ref{m.FD(recipe.Call{Name: "eventfd2", Nr: unix.SYS_EVENTFD2, Args: []recipe.Arg{recipe.Int(0), recipe.Int(unix.EFD_CLOEXEC)}})}
}
